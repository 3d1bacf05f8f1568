"""Delivering: from stored events to a subscriber that acknowledges. Knows no other subscription."""

from __future__ import annotations
