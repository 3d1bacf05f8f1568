"""Checked by mypy, never run: the public names can be used from outside."""

from __future__ import annotations

from typing import assert_type

import eventstore
from eventstore import Config, EventStore, Subscription


def exported(store: eventstore.EventStore, error: eventstore.EventStoreError) -> None:
    assert_type(store, EventStore)
    assert_type(error.retryable, bool)
    assert_type(eventstore.Config("memory:"), Config)
    assert_type(eventstore.__all__, list[str])


def handed(subscription: eventstore.Subscription) -> Subscription:
    return subscription
