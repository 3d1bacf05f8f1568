"""Supervising: starts, restarts and stops the actors of a store."""

from __future__ import annotations
