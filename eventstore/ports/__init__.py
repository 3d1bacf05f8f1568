"""The two ports: what stores events, and what runs a store."""

from __future__ import annotations
