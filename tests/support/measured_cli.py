"""The command line as ever; the last line that it prints is the most memory it had, in bytes."""

from __future__ import annotations

import sys

from eventstore.cli import main
from tests.support.memory import peak

if __name__ == "__main__":
    code = main()
    sys.stdout.write(f"{peak()}\n")
    sys.exit(code)
