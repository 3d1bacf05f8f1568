"""What applications call: the facade and what it delegates to."""

from __future__ import annotations
