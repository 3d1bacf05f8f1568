"""Deliberately broken builds, which the torture must detect; else it proves nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import psycopg
from psycopg import sql

from tests.torture.plan import Kind

__all__ = ["FAULTS", "Mutation", "install_mutation"]


class Mutation(StrEnum):
    UNLOCKED_SEQUENCE = "unlocked-sequence"
    """Positions come from a sequence, so commit order may differ from position order."""
    UNFENCED_CHECKPOINT = "unfenced-checkpoint"
    """A checkpoint is stored even if its sender is not the owner."""
    REWINDING_CHECKPOINT = "rewinding-checkpoint"
    """As before, and the checkpoint may go back."""
    EAGER_CHECKPOINT = "eager-checkpoint"
    """The first acknowledgement counts for all events."""

    SLUGGISH_TAKEOVER = "sluggish-takeover"
    """A lease expires after three times its length."""
    ABSENT_TAKEOVER = "absent-takeover"
    """A lease never expires."""

    REUSED_POSITION = "reused-position"
    """The positions of an erased tail are given out again."""
    REUSED_VERSION = "reused-version"
    """The versions of links that went with their events are given out again."""
    SLOW_DELETION = "slow-deletion"
    """What was deleted for good is delivered for eight seconds more."""
    KEPT_CHECKPOINT = "kept-checkpoint"
    """A subscription to a stream that is gone does not start over with the next one."""
    OLDER_SNAPSHOT = "older-snapshot"
    """A snapshot replaces the one of a newer version."""

    PARK_WITHOUT_ORDER = "park-without-order"
    """The later events of a stream are delivered while one of it is parked."""
    PARKED_FORGOTTEN = "parked-forgotten"
    """With the parked events that were delivered again, those after them are removed."""
    RETRY_IN_VAIN = "retry-in-vain"
    """A retry of parked events has nothing delivered again."""


FAULTS: dict[Mutation, tuple[Kind, ...]] = {
    Mutation.UNLOCKED_SEQUENCE: (Kind.CUT_LISTENERS,),
    Mutation.UNFENCED_CHECKPOINT: (Kind.FREEZE_RUNTIME,),
    Mutation.REWINDING_CHECKPOINT: (Kind.FREEZE_RUNTIME,),
    Mutation.EAGER_CHECKPOINT: (Kind.KILL_RUNTIME,),
    Mutation.SLUGGISH_TAKEOVER: (Kind.KILL_RUNTIME,),
    Mutation.ABSENT_TAKEOVER: (Kind.KILL_RUNTIME,),
    Mutation.REUSED_POSITION: (Kind.CUT_LISTENERS,),
    Mutation.REUSED_VERSION: (Kind.CUT_LISTENERS,),
    Mutation.SLOW_DELETION: (Kind.KILL_RUNTIME,),
    Mutation.KEPT_CHECKPOINT: (Kind.CUT_LISTENERS,),
    Mutation.OLDER_SNAPSHOT: (Kind.CUT_LISTENERS,),
    Mutation.PARK_WITHOUT_ORDER: (Kind.CUT_LISTENERS,),
    Mutation.PARKED_FORGOTTEN: (Kind.CUT_LISTENERS,),
    Mutation.RETRY_IN_VAIN: (Kind.CUT_LISTENERS,),
}
"""The faults of a short torture that reveal each mutation."""


@dataclass(frozen=True, slots=True)
class _Edit:
    """Replaces every *old* in the source of *function* by *new*."""

    function: str
    old: str
    new: str


_UNFENCED = (
    _Edit("move_positions", "AND p.owner = m.owner AND p.epoch = m.epoch", ""),
    _Edit("keep_subscriptions", "WHERE r.owner = p.owner AND r.epoch = p.epoch) m", ") m"),
    _Edit(
        "keep_subscriptions",
        "coalesce(r.owner = p.owner AND r.epoch = p.epoch AND r.checkpoint >= p.least, false)",
        "r.position_id IS NOT NULL",
    ),
    # Nor does a look at the row tell whoever was fenced.
    _Edit(
        "look_at_subscriptions", "coalesce(l.expires_at <= clock_timestamp(), true)", "1 / 0 = 1"
    ),
)

_UNWATCHED = _Edit("claim_subscription", "(p_watched_owner, p_watched_epoch", "(p_owner, NULL")

_LEFT_LONG_AGO = """
    d.deleted_at < clock_timestamp() - interval '8 s'
    AND NOT EXISTS (SELECT FROM tombstones t WHERE t.deletion_no = d.deletion_no)
"""

_EDITS: dict[Mutation, tuple[_Edit, ...]] = {
    Mutation.UNLOCKED_SEQUENCE: (
        _Edit(
            "append_events",
            "lock_head(p_wait_ms)",
            "mutant_places(coalesce(cardinality(p_event_ids), 0))",
        ),
    ),
    Mutation.UNFENCED_CHECKPOINT: _UNFENCED,
    Mutation.REWINDING_CHECKPOINT: (
        *_UNFENCED,
        _Edit("move_positions", "AND m.checkpoint > p.checkpoint", ""),
        _Edit("keep_subscriptions", "p.checkpoint > r.checkpoint", "true"),
    ),
    Mutation.EAGER_CHECKPOINT: (
        _Edit(
            "move_positions",
            "SET checkpoint = m.checkpoint",
            "SET checkpoint = subscribed_head(s.stream_id, v_head)",
        ),
    ),
    Mutation.SLUGGISH_TAKEOVER: (
        _Edit(
            "claim_subscription",
            "v_lease.expires_at <= v_now",
            "v_lease.expires_at + 2 * (v_lease.expires_at - v_lease.renewed_at) <= v_now",
        ),
        _UNWATCHED,
    ),
    Mutation.ABSENT_TAKEOVER: (
        _Edit("claim_subscription", "v_lease.expires_at <= v_now", "false"),
        _UNWATCHED,
    ),
    Mutation.REUSED_POSITION: (_Edit("lock_head", "max(last_position)", "0 * max(last_position)"),),
    Mutation.REUSED_VERSION: (
        _Edit("erase_events", "greatest(s.version_floor, l.newest)", "s.version_floor"),
    ),
    Mutation.SLOW_DELETION: (
        # It looks as if it were erased.
        _Edit("delete_stream", "stream_id, deleted_at)", "stream_id, deleted_at, erased_at)"),
        _Edit("delete_stream", "clock_timestamp());", "clock_timestamp(), clock_timestamp());"),
        _Edit("erase_events", "d.erased_at IS NULL", _LEFT_LONG_AGO),
    ),
    Mutation.KEPT_CHECKPOINT: (_Edit("delete_stream", "start_over(p_stream_id)", "NULL"),),
    Mutation.OLDER_SNAPSHOT: (
        _Edit("record_snapshot", "n.stream_version < EXCLUDED.stream_version", "true"),
    ),
    # It is parked under another key, which holds up nothing.
    Mutation.PARK_WITHOUT_ORDER: (
        _Edit(
            "park_events", "SELECT v_id, n.key, n.position", "SELECT v_id, n.key || '?', n.position"
        ),
    ),
    Mutation.PARKED_FORGOTTEN: (
        _Edit("unpark_events", "AND k.position <= p_positions[i]\n       AND k.is_marked", ""),
    ),
    Mutation.RETRY_IN_VAIN: (_Edit("choose_parked", "is_marked = true", "is_marked = false"),),
}

# The positions of one call are consecutive, which is better than most sequence-based stores.
_SEQUENCE = """
CREATE SEQUENCE {schema}.mutant_position;
CREATE FUNCTION {schema}.mutant_places(p_count integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_last bigint := 0;
BEGIN
  PERFORM pg_advisory_lock(1);
  FOR i IN 1 .. p_count LOOP
    v_last := nextval({name});
  END LOOP;
  PERFORM pg_advisory_unlock(1);
  RETURN v_last - p_count;
END $$;
"""

_SOURCE = """
SELECT pg_get_functiondef(p.oid) FROM pg_proc p
  JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = %s AND p.proname = %s
"""


def install_mutation(connection: psycopg.Connection, schema: str, mutation: Mutation) -> None:
    """Replace functions of the store in *schema* by broken ones."""
    if mutation is Mutation.UNLOCKED_SEQUENCE:
        names = {"schema": sql.Identifier(schema), "name": sql.Literal(f"{schema}.mutant_position")}
        connection.execute(sql.SQL(_SEQUENCE).format(**names))
    for edit in _EDITS[mutation]:
        row = connection.execute(_SOURCE, [schema, edit.function]).fetchone()
        assert row is not None, f"no function {edit.function}"
        source = str(row[0])
        assert edit.old in source, f"{edit.function} has changed: no {edit.old!r}"
        connection.execute(source.replace(edit.old, edit.new).encode())
