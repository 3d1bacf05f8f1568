"""Measurements that need a separate process."""

from __future__ import annotations

import subprocess
import sys

__all__ = ["printed_by"]

_TIMEOUT = 300.0


def printed_by(module: str, *arguments: object) -> float:
    """Run *module* as a program and return the number that it prints."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=_TIMEOUT)
    return float(done.stdout)
