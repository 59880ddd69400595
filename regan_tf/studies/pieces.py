"""A long study in pieces, each a file as soon as it is measured: an interrupted study goes on."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from regan_tf.cli import command
from regan_tf.config import UserError
from regan_tf.files import write_atomically
from regan_tf.studies import pool


@dataclass(frozen=True)
class Piece:
    """One measurement, a job of the pool.

    Attributes:
      path: of its JSON file.
      settings: a dict that says how it is measured.
      measure: returns what JSON can hold; it goes to another process.
      threads: TensorFlow's.
    """

    path: Path
    settings: dict
    measure: Callable[[], Any]
    threads: int = 1

    @property
    def log(self):
        """Where its output goes."""
        return self.path.with_suffix(".log")

    def work(self):
        """Measures it, in a process of its own."""
        command.start_tensorflow(self.threads)
        self.result()
        return 0

    def result(self):
        """What was measured, here and now if it has not been. Raises UserError."""
        if not self.path.is_file():
            content = {"settings": self.settings, "result": self.measure()}
            write_atomically(self.path, json.dumps(content) + "\n")
        return self.kept()

    def kept(self):
        """What was measured, or None. Raises UserError if it was in another way."""
        if not self.path.is_file():
            return None
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            there, result = content["settings"], content["result"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.path} cannot be read: {type(error).__name__}") from None
        for name, value in self.settings.items():
            if there.get(name) != value:
                raise UserError(
                    f"{self.path} was measured with {name}={there.get(name)}, not {value}: give "
                    "another --output"
                )
        return result


def measure(pieces, workers, name):
    """Measures what is not kept yet, `workers` pieces at a time.

    Args:
      pieces: a dict of them, by any keys.
      name: of the progress bar.
    Returns:
      A dict of their results.
    Raises:
      UserError: at once if a piece was measured in another way; or when one fails.
    """
    waiting = [piece for piece in pieces.values() if piece.kept() is None]
    outcomes = pool.on_this_machine(waiting, workers)
    done = len(pieces) - len(waiting)
    bar = tqdm(total=len(pieces), initial=done, desc=name, smoothing=0, dynamic_ncols=True)
    with bar, contextlib.closing(outcomes):
        for piece, outcome in outcomes:
            if outcome.exit_code:
                raise UserError(
                    f"a piece failed, see {piece.log}: {outcome.last_line}; the same command tries "
                    "it again"
                )
            piece.log.unlink(missing_ok=True)
            bar.update()
    return {key: piece.kept() for key, piece in pieces.items()}
