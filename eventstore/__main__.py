"""Run the command line: ``python -m eventstore``."""

from __future__ import annotations

import sys

from eventstore.cli import main

if __name__ == "__main__":
    sys.exit(main())
