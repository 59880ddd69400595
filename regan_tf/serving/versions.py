"""Where a model's versions are: a directory's numbered entries; and what is in one."""

from pathlib import Path

MANIFEST = "manifest.json"  # what a version is of
VOCABULARY = "vocabulary.txt"  # among its assets: its symbols, one a line
NEWEST = 2**63 - 1  # TF Serving's versions are numbers of 64 bits; larger ones are none


def numbered(directory):
    """The entries whose names are numbers, oldest first, whatever they are. Raises OSError."""
    return sorted(
        (p for p in Path(directory).iterdir() if is_version(p.name)), key=lambda p: int(p.name)
    )


def is_version(name):
    """Whether a text is a version's number."""
    return name.isascii() and name.isdigit() and len(name) <= 4000 and int(name) <= NEWEST


def versions_in(directory):
    """Those that are directories: the versions. Raises OSError."""
    return [p for p in numbered(directory) if p.is_dir()]


def has_version(directory):
    """Whether there is one; False where the directory cannot be read, or is none."""
    try:
        return bool(versions_in(directory))
    except OSError:
        return False
