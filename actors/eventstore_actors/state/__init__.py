"""What the threads of a runtime share."""

from __future__ import annotations
