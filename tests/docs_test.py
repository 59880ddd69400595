"""The documents say what is: names, links, commands, flags and files in them exist."""

import ast
import re
from pathlib import Path

import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.__main__ import COMMANDS
from regan_tf.cli import flagfiles
from regan_tf.config import Config

_ROOT = Path(__file__).parent.parent
_PAGES = sorted(
    [
        path
        for room in (".", "docs/**", "export", "examples/*")
        for path in _ROOT.glob(f"{room}/*.md")
    ]
)
_NAMES = [str(path.relative_to(_ROOT)) for path in _PAGES if "_build" not in path.parts]
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CALL = re.compile(
    r"(?:python -m regan_tf\.|(?<![\w=/-])regan )(\w+)((?: (?!python -m|#|regan )\S+)*)"
)
_FLAG = re.compile(r"(?<![\w-])--(\w+)")
_ANY_COMMAND = {"flagfile", "help"}
_OTHER_TOOLS = {"logdir", "nodes", "ntasks"}


def _read(name):
    return (_ROOT / name).read_text(encoding="utf-8")


def _code(text):
    """What stands as code: blocks, line by line, a line that ends in a backslash with the next;
    and spans, which may run over lines.
    """
    joined = re.sub(r"\\\n\s*", "", text)
    blocks = [line.strip() for line in joined.split("\n") if line.startswith("    ")]
    prose = "\n".join(line for line in text.split("\n") if not line.startswith(("    ", "```")))
    spans = re.findall(r"`([^`]+)`", prose)
    return blocks + [" ".join(span.split()) for span in spans]


def _flags_of(command):
    """The names of a command's flags, from its module, which is not run for that."""
    module = COMMANDS.get(command, command)
    if module == "main":
        return set(Config.__dataclass_fields__) | _ANY_COMMAND
    tree = ast.parse(_read(f"regan_tf/{module}.py"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    defined = [c for c in calls if ast.unparse(c.func).startswith("flags.DEFINE_")]
    return {call.args[0].value for call in defined} | _ANY_COMMAND


def _is_flag(name, known):
    return name in known or name.removeprefix("no") in known


def _anchors(name):
    """Of the headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.+)$", _read(name), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def _first_column(section):
    """The numbers in the first column of a section's table; 16-18 are three."""
    column = " ".join(re.findall(r"^\| ([^|]*\d[^|]*) \|", section, re.MULTILINE))
    spans = re.findall(r"(\d+)(?:-(\d+))?", column)
    return {n for first, last in spans for n in range(int(first), int(last or first) + 1)}


class PublicNamesTest(tf.test.TestCase):
    def test_the_table_has_every_public_name_and_no_other(self):
        rows = re.findall(r"^\| \[`(\w+)`\].*\| (\w+) \|$", _read("docs/api.md"), re.MULTILINE)
        self.assertCountEqual([name for name, _ in rows], regan_tf.__all__)
        self.assertEqual({stability for _, stability in rows}, {"stable", "experimental"})

    def test_the_reference_has_every_public_name_on_the_page_that_the_table_says(self):
        table = re.findall(r"^\| \[`(\w+)`\]\(([^)]+)\)", _read("docs/api.md"), re.MULTILINE)
        for name, page in table:
            self.assertRegex(_read(f"docs/{page}"), rf"(?m)^\.\. \w+:: regan_tf\.{name}$")


class PagesTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(*_NAMES)
    def test_links_and_pictures_exist(self, name):
        for target in _LINK.findall(re.sub(r"`[^`\n]*`", "", _read(name))):
            if re.match(r"\w+:", target):
                continue
            file, _, anchor = target.partition("#")
            path = (_ROOT / name).parent / file if file else _ROOT / name
            self.assertTrue(path.exists(), f"{name} links to {target}")
            if anchor:
                self.assertIn(anchor, _anchors(path.resolve().relative_to(_ROOT)), target)

    @parameterized.parameters(*_NAMES)
    def test_commands_and_their_flags_exist(self, name):
        for code in _code(_read(name)):
            for command, rest in _CALL.findall(code):
                if command == "COMMAND":
                    continue
                self.assertIn(command, {*COMMANDS, *COMMANDS.values()}, code)
                for flag in _FLAG.findall(rest):
                    self.assertTrue(_is_flag(flag, _flags_of(command)), f"--{flag} in {code}")

    @parameterized.parameters(*_NAMES)
    def test_flags_named_alone_are_those_of_a_command(self, name):
        known = set.union(_OTHER_TOOLS, *(_flags_of(command) for command in COMMANDS))
        for code in _code(_read(name)):
            if code.startswith("--"):
                for flag in _FLAG.findall(code):
                    self.assertTrue(_is_flag(flag, known), f"--{flag} in {code}")

    @parameterized.parameters(*_NAMES)
    def test_configurations_and_files_exist(self, name):
        text = "\n".join(_code(_read(name)))
        for kind, configuration in re.findall(r"--(flagfile|sweep)=([a-z][\w/.]*)", text):
            self.assertTrue(flagfiles.found(configuration, kind).is_file())
        for file in re.findall(r"\b(?:configs|regan_tf|tests|examples)/[a-z_/0-9]+\.\w+", text):
            self.assertTrue((_ROOT / file).is_file(), f"{name} names {file}")
        for example in re.findall(r"python -m examples\.(\w+)", text):
            places = (f"examples/{example}.py", f"examples/{example}/__main__.py")
            self.assertTrue(any((_ROOT / place).is_file() for place in places), example)
        for target in re.findall(r"\bmake ([a-z][\w-]*)", text):
            self.assertRegex(_read("Makefile"), rf"(?m)^{target}:")

    def test_every_picture_is_shown_once(self):
        shown = [m for name in _NAMES for m in re.findall(r"!\[[^\]]+\]\((\S+)\)", _read(name))]
        pictures = [path.name for path in (_ROOT / "docs").glob("*.png")]
        self.assertCountEqual([Path(target).name for target in shown], pictures)

    def test_the_readme_is_short(self):
        self.assertLessEqual(len(_read("README.md").split("\n")), 170)


class PaperIndexTest(tf.test.TestCase):
    def test_functions_exist(self):
        entries = re.findall(r"`([\w/]+\.py)`: ((?:`\w+`(?:, )?)+)", _read("docs/paper_index.md"))
        self.assertGreater(len(entries), 30)
        for file, names in entries:
            for name in re.findall(r"\w+", names):
                self.assertRegex(_read(f"regan_tf/{file}"), rf"(?m)^\s*(def|class) {name}\b", file)

    def test_it_has_every_equation_line_and_figure(self):
        _, equations, lines, figures, _ = _read("docs/paper_index.md").split("\n## ")
        self.assertEqual(_first_column(equations), set(range(1, 20)))
        self.assertEqual(_first_column(lines), set(range(1, 20)))
        self.assertEqual(_first_column(figures), set(range(1, 7)))


if __name__ == "__main__":
    tf.test.main()
