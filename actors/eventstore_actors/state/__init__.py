"""State that the threads of a runtime share. Knows no actor but by its reference."""

from __future__ import annotations
