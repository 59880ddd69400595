"""Asks a served model: TF Serving, or the local server of `python -m regan_tf.serve`.

  python -m regan_tf.client --address=localhost:8500 generate --num=20 --prefix="x+" --seed=7
  python -m regan_tf.client --address=http://localhost:8501 score x+x x*x        (or a text a line
  on standard input)

The first address is gRPC's, the second, with http://, REST's. What may pass is tried again until
--deadline.
"""

import json
import sys

from absl import flags

from regan_tf.cli import command
from regan_tf.config import UserError

_ADDRESS = flags.DEFINE_string(
    "address", "localhost:8500", "host:port for gRPC, http://host:port for REST."
)
_MODEL = flags.DEFINE_string("model", "regan", "Name of the model on the server.")
_VERSION = flags.DEFINE_integer(
    "version", None, "Its version; by default the server's latest.", 0, 2**63 - 1
)
_DEADLINE = flags.DEFINE_float(
    "deadline", 10.0, "Seconds that a request, with its retries, may take.", 0.001
)
_NUM = flags.DEFINE_integer("num", 10, "How many sequences to generate.", 1, 10**7)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the draw: the same seed gives the same sequences.", 0, 2**63 - 1
)
_TEMPERATURE = flags.DEFINE_float(
    "temperature", 1.0, "Divides the logits: below 1 is surer, above 1 more varied."
)
_PREFIX = flags.DEFINE_string("prefix", "", "Text that every sequence starts with.")
_FORMAT = flags.DEFINE_enum(
    "format",
    "text",
    ("text", "jsonl"),
    "Lines of text, or of JSON with everything that was answered.",
)


def main(arguments):
    """Does what the first argument asks for."""
    actions = {"generate": _generate, "score": _score}
    if not arguments or arguments[0] not in actions:
        raise UserError(
            f"say what to do: {' or '.join(actions)}, not {' '.join(arguments[:1]) or 'nothing'}"
        )
    if not _ADDRESS.value.startswith("http"):
        command.start_tensorflow(1)  # whose messages gRPC carries
    try:
        from regan_tf.serving.client import Client

        client = Client(_ADDRESS.value, _MODEL.value, _VERSION.value, _DEADLINE.value)
    except ImportError as error:
        raise UserError(f"{error}; the client needs `pip install 'regan-tf[serving]'`") from None
    with client:
        actions[arguments[0]](client, arguments[1:])


def _generate(client, rest):
    if rest:
        raise UserError(f"generate takes no {rest[0]!r}; a text to start with is --prefix")
    rows = client.generate(_NUM.value, _SEED.value, _TEMPERATURE.value, _PREFIX.value)
    if not rows["valid"].all():
        asked = f"--prefix={_PREFIX.value!r} and --temperature={_TEMPERATURE.value}"
        raise UserError(
            f"the model cannot serve {asked}: the temperature must be a finite number above 0, and "
            "the prefix made of the model's symbols and not longer than its sequences"
        )
    _print(rows, rows["text"])


def _score(client, texts):
    texts = texts or [line.rstrip("\n") for line in sys.stdin]
    rows = client.score(texts)
    lines = [
        f"{p:.6f}\t{t}" if v else f"invalid\t{t}"
        for p, t, v in zip(rows["log_prob"], texts, rows["valid"], strict=True)
    ]
    _print({"text": texts} | rows, lines)


def _print(rows, lines):
    if _FORMAT.value == "jsonl":
        columns = [
            getattr(column, "tolist", lambda column=column: column)() for column in rows.values()
        ]
        lines = [
            json.dumps(dict(zip(rows, values, strict=True)))
            for values in zip(*columns, strict=True)
        ]
    for line in lines:
        print(line)


if __name__ == "__main__":
    command.run(main, takes_arguments=True)
