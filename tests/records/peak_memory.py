"""How much memory a process has needed."""

from __future__ import annotations

from pathlib import Path


def peak_mb() -> int:
    """The most megabytes that this process has held at once.

    From `VmHWM`, which starts anew with a program; `ru_maxrss` starts with the size of the process
    that started it.
    """
    line = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    return int(line.split()[1]) // 1024
