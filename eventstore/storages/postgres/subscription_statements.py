"""The SQL statements that look at subscriptions, which `statements` makes complete."""

# ruff: noqa: S608 - the templates are constants, and values never become part of them

from __future__ import annotations

from eventstore.storages.postgres.operators import EQUALS

__all__ = ["STORED_PROGRESS", "SUBSCRIPTIONS", "SUBSCRIPTION_INFO"]

_STATUS = """
    SELECT subscription_id, stream_id, subscription_name, owner,
           owned_since AT TIME ZONE 'UTC', epoch, state, checkpoint, head, lag_events,
           lag_seconds, parked, parked_oldest_seconds, paused, options, last_error, attempts,
           created_at AT TIME ZONE 'UTC'
      FROM {schema}.subscription_status
"""

_OF_ONE = f"WHERE {{proven}} AND stream_id {EQUALS} %b AND subscription_name {EQUALS} %b"

SUBSCRIPTIONS = f"{_STATUS} WHERE {{proven}} ORDER BY stream_id, subscription_name"

SUBSCRIPTION_INFO = f"{_STATUS} {_OF_ONE}"

# Those who wait ask again and again, so what is parked is not counted.
STORED_PROGRESS = f"""
    SELECT subscription_id, epoch, checkpoint,
           EXISTS (SELECT FROM {{schema}}.parked k
                    WHERE k.subscription_id {EQUALS} s.subscription_id AND k.skipped_at IS NULL),
           state, last_error
      FROM {{schema}}.subscription_status s {_OF_ONE}
"""
