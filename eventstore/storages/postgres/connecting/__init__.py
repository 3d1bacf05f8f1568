"""Connections to PostgreSQL, and the deadlines of their calls."""

from __future__ import annotations
