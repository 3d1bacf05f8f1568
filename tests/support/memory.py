"""The most memory that a process ever had."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

__all__ = ["MIB", "peak"]

MIB = 1024 * 1024


def peak() -> int:
    """Return the most resident memory that this process ever had, in bytes.

    Linux counts the memory of the process that forked it to ``ru_maxrss``, but not to ``VmHWM``.
    """
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status = Path("/proc/self/status").read_text("utf-8")
    [kibibytes] = re.findall(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    return int(kibibytes) * 1024
