"""The stores and services of the guarantees' tests; somebody with plain SQL beside them."""

from __future__ import annotations

from tests.acceptance.guarantees.conftest import (
    foreign,
    observer,
    record,
    settings,
    start,
    store,
)

__all__ = ["foreign", "observer", "record", "settings", "start", "store"]
