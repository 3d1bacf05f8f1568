"""The adapters of the storage port."""

from __future__ import annotations
