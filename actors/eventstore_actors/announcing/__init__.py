"""Announcing: from a commit, in this or another process, to the subscriptions."""

from __future__ import annotations
