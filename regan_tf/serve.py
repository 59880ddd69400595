"""Serves an exported model on this machine as TF Serving would: its REST and gRPC interfaces, for
trying and testing.

  python -m regan_tf.serve                                  (the model exported last)
  python -m regan_tf.serve --model_dir=export/regan-rebar-3 --rest_port=8501 --grpc_port=8500

In production use TF Serving: export/README.md has its configuration.
"""

import asyncio
from pathlib import Path

from absl import flags

from regan_tf.cli import command
from regan_tf.config import UserError
from regan_tf.serving.versions import has_version, numbered

_MODEL_DIR = flags.DEFINE_string(
    "model_dir",
    "",
    "Directory of the model's versions; by default the one exported last in export/.",
)
_MODEL_NAME = flags.DEFINE_string("model_name", "regan", "What clients call it.")
_VERSIONS = flags.DEFINE_integer(
    "versions", 1, "How many of the newest versions to serve; TF Serving's default is 1.", 1
)
_HOST = flags.DEFINE_string(
    "host", "localhost", "Address to listen at; 0.0.0.0 lets other machines in."
)
_REST_PORT = flags.DEFINE_integer(
    "rest_port", 8501, "Port of the REST interface; 0: a free one.", 0, 65535
)
_GRPC_PORT = flags.DEFINE_integer(
    "grpc_port", 8500, "Port of the gRPC interface; 0: a free one.", 0, 65535
)
_BATCHING = flags.DEFINE_bool("batching", True, "Join the requests that wait into one batch.")
_BATCH_ROWS = flags.DEFINE_integer(
    "max_batch_rows", 1024, "Most rows of a request, and of a batch.", 1
)
_BODY_BYTES = flags.DEFINE_integer("max_body_bytes", 4 * 2**20, "Largest request.", 1024)
_POLL = flags.DEFINE_float("poll_seconds", 1.0, "Seconds between looks for a new version.", 0.01)
_THREADS = flags.DEFINE_integer(
    "threads", 1, "CPU threads of the model. 0: TensorFlow's choice.", 0
)


def main():
    """Serves until it is stopped."""
    directory = Path(_MODEL_DIR.value) if _MODEL_DIR.value else _exported_last(Path("export"))
    if not has_version(directory):
        raise UserError(
            f"--model_dir={directory} holds no version: train, or give the directory above the "
            "numbers"
        )
    if not _HOST.value:  # which would be every address there is
        raise UserError("--host= is not allowed: 0.0.0.0 lets other machines in")
    command.start_tensorflow(_THREADS.value)
    try:
        from regan_tf.serving import server
        from regan_tf.serving.model import Model
        from regan_tf.serving.refusals import Limits
    except ImportError as error:
        raise UserError(f"{error}; serving needs `pip install 'regan-tf[serving]'`") from None
    limits = Limits(batch_rows=_BATCH_ROWS.value, body_bytes=_BODY_BYTES.value)
    model = Model(_MODEL_NAME.value, directory, limits, _BATCHING.value, _VERSIONS.value)
    asyncio.run(
        server.run(
            model, limits, _HOST.value, _REST_PORT.value, _GRPC_PORT.value, _POLL.value, _announce
        )
    )
    print("stopped")


def _exported_last(export):
    versions = [version for model in export.glob("*/") for version in numbered(model)]
    if not versions:
        raise UserError(
            f"nothing is exported yet: `{command.typed('main')}` does it, or give --model_dir"
        )
    return max(versions, key=lambda p: p.stat().st_mtime).parent


def _announce(rest_port, grpc_port):
    name, host = _MODEL_NAME.value, _HOST.value
    print(
        f"serving {name}: REST at http://{host}:{rest_port}, gRPC at {host}:{grpc_port}. Ctrl-C "
        "stops. Now try"
    )
    address = f"--address={host}:{grpc_port}"
    print(f"  {command.typed('client', address, 'generate', '--num=5', '--seed=7')}")
    print(f"  http://{host}:{rest_port}/ in a browser")
    print(f"  curl http://{host}:{rest_port}/v1/models/{name}", flush=True)


if __name__ == "__main__":
    command.run(main)
