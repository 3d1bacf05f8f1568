"""Ownership of subscriptions: claims, leases and checkpoints."""

from __future__ import annotations
