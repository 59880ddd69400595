"""The wheel: built from the source distribution, installed apart, used from another directory."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

import pytest
import tensorflow as tf

import regan_tf

_ROOT = Path(__file__).parent.parent
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


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
        files = _run("git", "ls-files", "-co", "--exclude-standard", cwd=_ROOT).stdout.split("\n")
        for name in filter(None, files):
            if (_ROOT / name).is_file():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_bytes((_ROOT / name).read_bytes())
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
        output = self._regan("train", "--flagfile=recipe_3", *small).stdout
        self.assertRegex(output, r"python -m regan_tf\.serve --model_dir=export/regan-\w+-3")
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


class NamesTest(tf.test.TestCase):
    def test_what_is_listed_is_what_is_public(self):
        shown = [name for name in dir(regan_tf) if not name.startswith("__")]
        self.assertEqual(shown, sorted(regan_tf.__all__))
        self.assertIn("__version__", dir(regan_tf))
        for name in regan_tf.__all__:
            self.assertIsNotNone(getattr(regan_tf, name))
        with self.assertRaisesRegex(AttributeError, "has no attribute 'networks_'"):
            _ = regan_tf.networks_


class DependenciesTest(tf.test.TestCase):
    def test_what_is_imported_is_declared_and_what_is_declared_is_imported(self):
        extras = _PROJECT["optional-dependencies"]
        declared = [*_PROJECT["dependencies"], *extras["serving"], *extras["ray"]]
        names = {re.match(r"[\w-]+", line)[0].lower() for line in declared}
        of_module = importlib.metadata.packages_distributions()
        imported = set()
        for path in _ROOT.glob("regan_tf/**/*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                modules += [node.module] if isinstance(node, ast.ImportFrom) else []
                imported |= {module.split(".")[0] for module in modules}
        third_party = imported - sys.stdlib_module_names - {"regan_tf"}
        found = {of_module[module][0].lower().replace("_", "-") for module in third_party}
        # TensorFlow Probability asks for tf-keras, and does not bring it; TensorBoard's summaries
        # need the package to be there.
        self.assertEqual(names - {"tf-keras"}, found | {"tensorboard"})


if __name__ == "__main__":
    tf.test.main()
