"""From a caller's append to a commit."""

from __future__ import annotations
