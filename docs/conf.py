"""How `make docs` builds these pages, and the API reference from the docstrings."""

import dataclasses
import re

import regan_tf
from regan_tf.cli import command

command.start_tensorflow(threads=1)  # which drops its greetings

project, author = "regan_tf", "The regan_tf authors"
version = release = regan_tf.__version__
copyright = author
html_title = f"regan_tf {version}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sourcelink = html_copy_source = False
myst_heading_anchors = 3
highlight_language = "none"  # most blocks are commands and equations
pygments_style, pygments_dark_style = "friendly", "monokai"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_ivar = True
default_role = "py:obj"  # `name` in a docstring is code, and a link where it is a public name

_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):")
_CODE = re.compile(r"(`[^`]*`)")
_MARKUP = re.compile(r"(?<![\w*|])\*(?!\*)|\||_(?=[^\w]|$)")  # what would be markup outside of code


def _as_written(app, what, name, obj, options, lines):
    """Docstrings are plain text: an indented block is an equation or code, and no sign is markup,
    but for `code`.
    """
    written, in_block, in_sections = [], False, False
    for line in lines:
        in_sections = in_sections or bool(_SECTION.match(line))
        is_block = not in_sections and line.startswith("    ")
        if is_block and not in_block:
            written += ["::", ""]
        in_block = is_block or (in_block and not line)
        written.append(line if is_block else _escaped(line))
    lines[:] = written


def _escaped(line):
    parts = _CODE.split(line)
    return "".join(p if p.startswith("`") else _MARKUP.sub(r"\\\g<0>", p) for p in parts)


def _settings(app, what, name, obj, options, lines):
    """The fields of a dataclass of settings, which carry their help with them."""
    if not (what == "class" and dataclasses.is_dataclass(obj)):
        return
    lines += ["", "Settings:", ""]
    for field in dataclasses.fields(obj):
        lines += [f"``{field.name}`` = ``{field.default!r}``", f"    {_help(field)}", ""]


def _short(app, what, name, obj, options, signature, annotation):
    """The settings of a dataclass are listed below it: not in its signature, too."""
    return ("(**settings)", annotation) if dataclasses.is_dataclass(obj) else None


def _help(field):
    choices = field.metadata["choices"]
    allowed = f" One of {', '.join(choices)}." if choices else ""
    return _escaped(field.metadata["doc"]) + allowed


def setup(app):
    """Before napoleon, which reads the sections, the text; after it the settings."""
    app.connect("autodoc-process-docstring", _as_written, priority=400)
    app.connect("autodoc-process-docstring", _settings, priority=600)
    app.connect("autodoc-process-signature", _short)
