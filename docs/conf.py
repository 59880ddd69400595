"""How `make docs` builds these pages, and the API reference from the docstrings."""

import dataclasses
import re

from sphinx.util import inspect

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
smartquotes = False  # -- is a flag's
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_custom_sections = [("Attributes", "params_style")]  # several names may share a line
default_role = "py:obj"  # `name` in a docstring is code, and a link where it is a public name

_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):")
_COLON = "\ue000"  # in the place of one before which napoleon would look for a type
_CODE = re.compile(r"(`[^`]*`)")
# What would be markup outside of code: * | _ of emphasis and links, and V. as if it began a list.
_MARKUP = re.compile(r"(?<![\w*|])\*(?!\*)|\||_(?=[^\w]|$)|(?<=: [A-Z])\.")
# Files beside docs/ that are pages here, too.
_INCLUDED = {"../BUILD_NOTES.md": "decisions.md", "../export/README.md": "production.md"}


def _to_pages(app, name, source):
    """Links to what is included lead to the page of it."""
    for file, page in _INCLUDED.items():
        source[0] = source[0].replace(f"]({file}", f"]({page}")


def _as_written(app, what, name, obj, options, lines):
    """Docstrings are plain text: an indented block is an equation or code, and no sign is markup,
    but for `code`.
    """
    written, in_block, section = [], False, ""
    for line in lines:
        heading = _SECTION.fullmatch(line)
        section = heading[1] if heading else section
        is_block = not section and line.startswith("    ")
        if is_block and not in_block:
            written += ["::", ""]
        in_block = is_block or (in_block and not line)
        line = line if is_block or heading else _escaped(line)
        has_no_type = what == "property" if not section else section in ("Returns", "Yields")
        written.append(line.replace(":", _COLON) if has_no_type and not heading else line)
    lines[:] = written


def _escaped(line):
    parts = _CODE.split(line)
    return "".join(p if p.startswith("`") else _MARKUP.sub(r"\\\g<0>", p) for p in parts)


def _settings(app, what, name, obj, options, lines):
    """The fields of a dataclass of settings, which carry their help with them."""
    lines[:] = [line.replace(_COLON, ":") for line in lines]
    if not (what == "class" and dataclasses.is_dataclass(obj)):
        return
    lines += ["", "Settings:", ""]
    for field in dataclasses.fields(obj):
        lines += [f"``{field.name}`` = ``{field.default!r}``", f"    {_help(field)}", ""]


def _signature(app, what, name, obj, options, signature, annotation):
    """That of a dataclass of settings is listed below it; that of a Keras model is its __init__; a
    protocol has none.
    """
    if dataclasses.is_dataclass(obj):
        return "(**settings)", annotation
    if getattr(obj, "_is_protocol", False):
        return "", annotation
    if what == "class" and signature == "(*args, **kwargs)":
        found = inspect.signature(obj.__init__, bound_method=True)
        return inspect.stringify_signature(found, unqualified_typehints=True), annotation
    return None


def _help(field):
    choices = field.metadata["choices"]
    allowed = f" One of {', '.join(choices)}." if choices else ""
    return _escaped(field.metadata["doc"]) + allowed


def setup(app):
    """Before napoleon, which reads the sections, the text; after it the settings."""
    app.connect("source-read", _to_pages)
    app.connect("autodoc-process-docstring", _as_written, priority=400)
    app.connect("autodoc-process-docstring", _settings, priority=600)
    app.connect("autodoc-process-signature", _signature)
