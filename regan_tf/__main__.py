"""The commands of regan_tf: `regan <command>`, which is `python -m regan_tf <command>`."""

import ast
import difflib
import os
import runpy
import sys
from pathlib import Path

from tabulate import tabulate

import regan_tf
from regan_tf.cli import command

# Each is a module, `python -m regan_tf.<module>`. `cli.command.typed` knows of "train".
COMMANDS = {
    "train": "main",
    **{
        name: name
        for name in (
            *("sample", "export", "serve", "client", "compare", "sweep", "report"),
            *("temperature_curve", "benchmark", "benchmark_rewards", "benchmark_serving"),
        )
    },
}


def main():
    """Runs the command that the first argument names."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "help"):
        print(_usage())
    elif name == "--version":
        print(regan_tf.__version__)
    elif name in COMMANDS:
        sys.argv = [f"regan {name}", *arguments]
        command.is_regan = True
        sys.path.insert(0, os.getcwd())  # as `python -m` does: a --reward may be there
        runpy.run_module(f"regan_tf.{COMMANDS[name]}", run_name="__main__", alter_sys=True)
    else:
        near = difflib.get_close_matches(name, COMMANDS) or COMMANDS
        print(f"error: {name!r} is not a command: try {', '.join(near)}", file=sys.stderr)
        return 2
    return 0


def _usage():
    rows = [(name, _first_line(module)) for name, module in COMMANDS.items()]
    return "\n".join(
        [
            "usage: regan COMMAND [--flag=value ...]        (or python -m regan_tf COMMAND)\n",
            tabulate(rows, tablefmt="plain", maxcolwidths=[None, 70]),
            "\nregan COMMAND --help lists a command's flags.",
        ]
    )


def _first_line(module):
    """What a command does, from its docstring: it is not imported for that."""
    path = Path(regan_tf.__file__).parent / f"{module}.py"
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    return " ".join(doc.split("\n\n")[0].split())


if __name__ == "__main__":
    sys.exit(main())
