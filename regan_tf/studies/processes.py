"""What a process uses, by Linux's /proc."""

import os
from pathlib import Path


def resident(pid: int | str = "self") -> float:
    """Resident memory in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def descriptors(pid: int | str = "self") -> int:
    """How many are open."""
    return len(os.listdir(f"/proc/{pid}/fd"))
