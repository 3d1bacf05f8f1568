"""Databases and schemas: create, install, migrate, check, drop."""

from __future__ import annotations
