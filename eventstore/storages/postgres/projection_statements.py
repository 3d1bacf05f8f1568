"""The statement that lists projections, which `statements` makes complete."""

# ruff: noqa: S608 - the template is a constant, and values never become part of it

from __future__ import annotations

from eventstore.storages.postgres.operators import EQUALS

__all__ = ["PROJECTIONS"]

PROJECTIONS = f"""
    SELECT v.projection_name, v.version, coalesce(p.current_version {EQUALS} v.version, false),
           v.created_at AT TIME ZONE 'UTC',
           CASE WHEN p.current_version {EQUALS} v.version
                THEN p.switched_at AT TIME ZONE 'UTC' END,
           s.state, coalesce(s.paused, false), s.owner, coalesce(s.checkpoint, 0),
           h.head, coalesce(s.lag_events, h.head), coalesce(s.lag_seconds, 0), s.last_error
      FROM {{schema}}.projection_versions v
      JOIN {{schema}}.projections p ON p.projection_name {EQUALS} v.projection_name
     CROSS JOIN (SELECT {{schema}}.store_head() AS head) h
      LEFT JOIN {{schema}}.subscription_status s ON s.subscription_id {EQUALS} v.subscription_id
     WHERE {{proven}}
     ORDER BY v.projection_name, v.version
"""
