"""The base of every actor: messages, base class, timer. Knows no database and no other room."""

from __future__ import annotations
