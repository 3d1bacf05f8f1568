"""From a commit, here or elsewhere, to the subscriptions concerned."""

from __future__ import annotations
