"""The wheel: built from the source distribution, installed apart, used from another directory."""

import ast
import importlib.metadata
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
from pathlib import Path

import pytest
import tensorflow as tf
from absl.testing import parameterized
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import regan_tf

_ROOT = Path(__file__).parent.parent
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_MADE = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "build", "dist", "report", "runs", "site"
)  # what is not kept, see .gitignore, and tools' own


def _run(*command, cwd, ok=True):
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if ok and result.returncode:
        raise AssertionError(f"{command} failed:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return result


@pytest.mark.slow
class WheelTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.directory = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        source = cls.directory / "source"
        shutil.copytree(_ROOT, source, ignore=_MADE)
        # A wheel is made from the source distribution, as an installer does.
        _run(sys.executable, "-m", "build", "--outdir", str(cls.directory), cwd=source)
        (wheel,) = cls.directory.glob("*.whl")
        environment = cls.directory / "environment"
        _run(sys.executable, "-m", "venv", str(environment), cwd=cls.directory)
        python = environment / "bin/python"
        _run(str(python), "-m", "pip", "install", "-q", "--no-deps", str(wheel), cwd=cls.directory)
        # What it depends on is not downloaded again.
        (site,) = environment.glob("lib/python*/site-packages")
        (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        cls.bin = environment / "bin"
        cls.elsewhere = cls.directory / "elsewhere"
        cls.elsewhere.mkdir()

    def _regan(self, *arguments, ok=True):
        return _run(str(self.bin / "regan"), *arguments, cwd=self.elsewhere, ok=ok)

    def test_main_job_and_report_from_another_directory(self):
        small = [
            "--iterations=1", "--pretrain_epochs=0.05", "--eval_samples=100", "--d_steps=1",
            "--data_size=640", "--heldout_size=50", "--workdir=run",
        ]  # fmt: skip
        (self.elsewhere / "mine.py").write_text(
            "import regan_tf\n\nreward = regan_tf.text_reward(lambda texts: [1.0] * len(texts))\n"
        )
        output = self._regan("train", "--flagfile=recipe_3", "--reward=mine:reward", *small).stdout
        self.assertRegex(output, r"\n  regan serve --model_dir=export/regan-\w+-3\n")
        self.assertRegex(output, r"\nreward +1\.0000 +1\.0000")
        self.assertTrue((self.elsewhere / "run/figures/reward.png").stat().st_size)
        self._regan("report", "run", "--output=report")
        self.assertTrue((self.elsewhere / "report/index.html").exists())

    def test_it_says_what_it_is(self):
        self.assertEqual(self._regan("--version").stdout, f"{regan_tf.__version__}\n")
        self.assertRegex(self._regan().stdout, "train +Trains a sequence GAN")
        wrong = self._regan("tran", ok=False)
        self.assertEqual(
            (wrong.returncode, wrong.stderr), (2, "error: 'tran' is not a command: try train\n")
        )
        listed = self._regan("sweep", "--sweep=figure_4", "--seeds=1", "--dry_run").stdout
        self.assertIn("estimator=rebar/0", listed)

    def test_it_has_every_module(self):
        (site,) = self.bin.parent.glob("lib/python*/site-packages")
        installed = {path.relative_to(site) for path in site.glob("regan_tf/**/*.py")}
        expected = {path.relative_to(_ROOT) for path in _ROOT.glob("regan_tf/**/*.py")}
        self.assertEqual(installed, expected)

    def test_the_source_distribution_can_be_tested(self):
        (archive,) = self.directory.glob("*.tar.gz")
        with tarfile.open(archive) as sources:
            names = {name.partition("/")[2] for name in sources.getnames()}
        self.assertContainsSubset(
            {str(path.relative_to(_ROOT)) for path in (_ROOT / "tests").rglob("*.py")}
            | {"Makefile", "examples/quickstart.ipynb", "configs/recipe.flags", "export/README.md"}
            | {path.name for path in _ROOT.glob("*.txt")},
            names,
        )


class NamesTest(tf.test.TestCase):
    def test_what_is_listed_is_what_is_public(self):
        shown = [name for name in dir(regan_tf) if not name.startswith("__")]
        self.assertEqual(shown, sorted(regan_tf.__all__))
        self.assertIn("__version__", dir(regan_tf))
        for name in regan_tf.__all__:
            self.assertIsNotNone(getattr(regan_tf, name))
        with self.assertRaisesRegex(AttributeError, "has no attribute 'networks_'"):
            _ = regan_tf.networks_


def _requirements(lines):
    """A dict from the names of packages to what is asked of each."""
    found = map(Requirement, lines)
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def _pinned(file):
    """A dict from the names of packages to their versions in a file, without those it includes."""
    lines = (_ROOT / file).read_text(encoding="utf-8").splitlines()
    pins = _requirements(line for line in lines if line and line[0] not in "#-")
    return {name: _only(pin.specifier, "==") for name, pin in pins.items()}


def _only(specifier, operator):
    (single,) = specifier
    assert single.operator == operator, single
    return Version(single.version)


def _imported(room):
    """The packages that a directory's modules import, as they are distributed; those that are not
    installed (WordLlama, among the oldest versions) by the module's name.
    """
    modules = set()
    for path in (_ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            modules |= {name.split(".")[0] for name in names}
    distributions = importlib.metadata.packages_distributions()
    third_party = modules - sys.stdlib_module_names - {"regan_tf", "examples", "tests"}
    return {canonicalize_name(distributions.get(module, [module])[0]) for module in third_party}


_EXTRAS = {name: _requirements(lines) for name, lines in _PROJECT["optional-dependencies"].items()}
_BOUNDS = _requirements(_PROJECT["dependencies"])
_OF_USERS = _BOUNDS | _EXTRAS["serving"] | _EXTRAS["ray"] | _EXTRAS["notebook"]
_OF_USERS |= _EXTRAS["molecules"] | _EXTRAS["rna"] | _EXTRAS["bench"]
# WordLlama needs a newer NumPy than the oldest that the rest is tested with.
_OF_OLDEST, _OF_USERS = _OF_USERS, _OF_USERS | _EXTRAS["embeddings"]
_TOOLS = {name: r for name, r in _EXTRAS["test"].items() if name != "regan-tf"}


class DependenciesTest(tf.test.TestCase, parameterized.TestCase):
    def test_what_is_imported_is_declared_and_what_is_declared_is_imported(self):
        declared = (_BOUNDS | _EXTRAS["serving"] | _EXTRAS["ray"]).keys()
        declared |= (_EXTRAS["embeddings"] | _EXTRAS["bench"]).keys()
        # TensorFlow Probability asks for tf-keras, and does not bring it; TensorBoard's summaries
        # need the package to be there.
        self.assertEqual(declared - {"tf-keras"}, _imported("regan_tf") | {"tensorboard"})

    @parameterized.parameters("tests", "examples")
    def test_what_is_imported_beside_the_package_is_declared(self, room):
        self.assertContainsSubset(_imported(room), (_OF_USERS | _TOOLS).keys())

    def test_the_tests_have_what_users_may_have(self):
        extras = _EXTRAS["test"]["regan-tf"].extras
        self.assertEqual(extras, {"serving", "ray", "notebook", "molecules", "rna", "bench"})

    @parameterized.parameters(
        ("requirements.txt", _BOUNDS),
        ("requirements-serving.txt", _EXTRAS["serving"]),
        ("requirements-ray.txt", _EXTRAS["ray"]),
        ("requirements-molecules.txt", _EXTRAS["molecules"]),
        ("requirements-rna.txt", _EXTRAS["rna"]),
        ("requirements-bench.txt", _EXTRAS["bench"]),
        ("requirements-embeddings.txt", _EXTRAS["embeddings"]),
        ("requirements-docs.txt", _EXTRAS["docs"]),
        ("requirements-dev.txt", _EXTRAS["notebook"] | _TOOLS),
    )
    def test_pinned_versions_are_those_of_the_bounds(self, file, bounds):
        pins = _pinned(file)
        self.assertEqual(pins.keys(), bounds.keys())
        for name, version in pins.items():
            self.assertIn(version, bounds[name].specifier, f"{name} in {file}")

    def test_the_lower_bounds_are_the_oldest_versions_that_are_tested(self):
        lowest = {name: _only(bound.specifier, ">=") for name, bound in _OF_OLDEST.items()}
        self.assertEqual(_pinned("constraints-oldest.txt"), lowest)


if __name__ == "__main__":
    tf.test.main()
