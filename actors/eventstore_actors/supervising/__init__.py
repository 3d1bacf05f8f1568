"""The supervisor of a store: starts the parts, restarts what crashes, ends everything."""

from __future__ import annotations
