"""What every actor needs: messages, the base class, the timer."""

from __future__ import annotations
