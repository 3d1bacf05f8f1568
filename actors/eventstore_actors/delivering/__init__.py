"""From stored events to a subscriber that acknowledges."""

from __future__ import annotations
