"""Gives bad values to every flag of every command, in this process, which starts no TensorFlow.

  python -m tests.cli.bad_flags sample --workdir=RUN + serve --model_dir=MODEL + ...

Prints, as JSON, for each command how many values there were of each kind of flag, and what became
of those that were not refused as they should be.
"""

import collections
import contextlib
import io
import itertools
import json
import runpy
import sys
import traceback
from unittest import mock

from absl import app, flags

from regan_tf.cli import command

_WORDS = [
    *("", " ", "x", "X1", "nan?", "None", "null", "true-ish", "yes please", "1 2", "1,2", "1;2"),
    *("--", "-", "+", ".", "..", "...", "/", "//", "\\", "\\n", "\n", "\t", "\r\n", "\x7f"),
    *("½", "😀", "é", "\u202e", "\ufeff", "\udcff", "日本", "\x1b[1m"),
    *("{}", "{0}", "[", "]", "[]"),
    *("$HOME", "`id`", "$(id)", "%s", "%n", "()", "a=b", "=", "==", "'", '"', "''", "<a>", "&"),
    *("|", "*", "?", "#", "@", "~", "!", "x" * 300, "x" * 5000),
    *("0b", "0x", "0xg", "1e", "e5", "1.2.3", "1..2", "--x=1"),
]  # fmt: skip
_NO_FLOATS = ["nan", "-nan", "inf", "-inf", "+inf", "infinity", "1e999", "-1e999", "NaN", "9" * 400]
_NO_INTEGERS = [*_NO_FLOATS, "1.5", "1.0", "1e3", "0.1", "-.5", "9" * 30, "-" + "9" * 30, "1j"]
_PATHS = ["/dev/null/x", "/nowhere/at/all", "/proc/self/mem", "/dev/null", "a" * 300, "x\ny"]
_LISTS = [",", ",,", "a,,b", "1,x", "x,1", "1,-1", "nan,1", "1,inf", "a:b:c", ":", "x:", ":x"]
_BAD = {
    "integer": _WORDS + _NO_INTEGERS,
    "float": _WORDS + _NO_FLOATS,
    "enum": _WORDS,
    "bool": _WORDS,
    "list": _WORDS + _PATHS + _LISTS,
    "string": _WORDS + _PATHS,
}
_LEAST = 3  # values of each flag
_NEVER_TAKEN = ("integer", "float", "enum", "bool")  # others may be right, or be found bad later


class _Accepted(BaseException):
    """A command has found its flags good, and would start TensorFlow."""


def _loaded(module):
    """The parser of a command's flags, its main function, and the flags."""
    before = set(flags.FLAGS)
    with mock.patch.object(app, "run") as run:
        runpy.run_module(f"regan_tf.{module}", run_name="__main__", alter_sys=True)
    (main,), options = run.call_args
    return options["flags_parser"], main, sorted(set(flags.FLAGS) - before)


def _kind(name):
    kinds = {flags.IntegerParser: "integer", flags.FloatParser: "float", flags.ListParser: "list"}
    kinds |= {flags.BooleanParser: "bool", flags.EnumParser: "enum"}
    return kinds.get(type(flags.FLAGS[name].parser), "string")


def _complaint(parse, main, arguments, name):
    """What is wrong with a command's answer to a bad value of the flag; "" if nothing is."""
    flags.FLAGS.unparse_flags()
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
            code = main(parse(["command", *arguments]))
    except SystemExit as error:
        code = error.code
    except _Accepted:
        code = 0
    except BaseException:
        return traceback.format_exc()
    text = told.getvalue()
    if not code:
        return "it is taken for good" if _kind(name) in _NEVER_TAKEN else ""
    return "" if name in text and "Traceback" not in text else f"it does not name the flag: {text}"


def tried(module, *others):
    """Tries the bad values on a command, each kind's shared out over the flags of that kind, with
    other arguments that are good: how many there were of each kind, and a list of complaints.
    """
    parse, main, names = _loaded(module)
    of_kind, wrong, counts = collections.defaultdict(list), [], {}
    for name in names:
        of_kind[_kind(name)].append(name)
    for kind, names_of_kind in of_kind.items():
        values = itertools.cycle(_BAD[kind])
        counts[kind] = max(len(_BAD[kind]), _LEAST * len(names_of_kind))
        shares = itertools.islice(itertools.cycle(names_of_kind), counts[kind])
        for name, value in zip(shares, values, strict=False):
            arguments = [*others, f"--{name}={value}"]
            if complaint := _complaint(parse, main, arguments, name):
                wrong.append(f"{module} --{name}={value[:40]!r}: {complaint}")
    for name in names:
        delattr(flags.FLAGS, name)
    return counts, wrong


def main():
    """Prints what became of the commands that the arguments name."""
    found = {}
    with mock.patch.object(command, "start_tensorflow", side_effect=_Accepted):
        for words in " ".join(sys.argv[1:]).split(" + "):
            module, *others = words.split()
            found[module] = tried(module, *others)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
