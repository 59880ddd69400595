"""Where a model's versions are: a directory's numbered entries."""

from pathlib import Path


def numbered(directory):
    """The entries whose names are numbers, oldest first, whatever they are. Raises OSError."""
    return sorted(
        (p for p in Path(directory).iterdir() if p.name.isascii() and p.name.isdigit()),
        key=lambda p: int(p.name),
    )


def versions_in(directory):
    """Those that are directories: the versions. Raises OSError."""
    return [p for p in numbered(directory) if p.is_dir()]
