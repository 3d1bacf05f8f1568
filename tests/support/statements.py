"""A program that runs the statements it is given: ``python -c`` as a module."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    exec(sys.argv[1])
