"""Appending: from a caller's append to a commit. Knows no subscription."""

from __future__ import annotations
