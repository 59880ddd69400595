"""A long study in pieces, each a file as soon as it is measured, so that an interrupted one goes on."""

import json
from pathlib import Path

from regan_tf.config import UserError
from regan_tf.files import write_atomically


class Pieces:
    """What is measured already, by name.

    Args:
      directory: of a JSON file a piece.
    """

    def __init__(self, directory):
        self._directory = Path(directory)

    def get(self, name, settings, measure):
        """The piece of a name: as it is kept, else `measure()`, which is kept from now on.

        Args:
          name: may have slashes; colons become commas.
          settings: a dict that says how it is measured.
          measure: returns what JSON can hold.
        Raises:
          UserError: it is kept, but was measured in another way.
        """
        path = self._path(name)
        if path.is_file():
            return self._kept(path, settings)
        result = measure()
        write_atomically(path, json.dumps({"settings": settings, "result": result}) + "\n")
        return result

    def has(self, name):
        """Whether the piece of a name is kept."""
        return self._path(name).is_file()

    def _path(self, name):
        return self._directory / f"{name.replace(':', ',')}.json"

    def _kept(self, path, settings):
        try:
            piece = json.loads(path.read_text(encoding="utf-8"))
            there, result = piece["settings"], piece["result"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} cannot be read: {type(error).__name__}: {error}") from None
        for key, value in settings.items():
            if there.get(key) != value:
                raise UserError(
                    f"--output={self._directory.parent} has measurements with {key}="
                    f"{there.get(key)}, not {value}: give another --output"
                )
        return result
