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


FAULTS: dict[Mutation, tuple[Kind, ...]] = {
    Mutation.UNLOCKED_SEQUENCE: (Kind.CUT_LISTENERS,),
    Mutation.UNFENCED_CHECKPOINT: (Kind.FREEZE_RUNTIME,),
    Mutation.REWINDING_CHECKPOINT: (Kind.FREEZE_RUNTIME,),
    Mutation.EAGER_CHECKPOINT: (Kind.KILL_RUNTIME,),
    Mutation.SLUGGISH_TAKEOVER: (Kind.KILL_RUNTIME,),
    Mutation.ABSENT_TAKEOVER: (Kind.KILL_RUNTIME,),
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
        "coalesce(r.owner = p.owner AND r.epoch = p.epoch, false)",
        "r.position_id IS NOT NULL",
    ),
    # Nor does a look at the row tell whoever was fenced.
    _Edit(
        "look_at_subscriptions", "coalesce(l.expires_at <= clock_timestamp(), true)", "1 / 0 = 1"
    ),
)

_UNWATCHED = _Edit("claim_subscription", "(p_watched_owner, p_watched_epoch", "(p_owner, NULL")

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
        _Edit("move_positions", "m.checkpoint > p.checkpoint AND", ""),
        _Edit("keep_subscriptions", "p.checkpoint > r.checkpoint AND", ""),
    ),
    Mutation.EAGER_CHECKPOINT: (
        _Edit("move_positions", "THEN m.checkpoint ELSE", "THEN n.head ELSE"),
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
