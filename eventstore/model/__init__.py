"""Values, errors and settings. No thread, no database."""

from __future__ import annotations
