"""Mutants of who owns a subscription: claims, leases, the fence, pauses, resets, deletes."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["OWNING"]

_SCHEMA = "schema.sql"

_CLAIMS = "tests/actors/owning/test_subscription_claims.py"
_DEADLINES = "tests/eventstore/postgres/test_deadlines.py"
_FENCE = "tests/eventstore/postgres/test_fence.py"
_MACHINE = "tests/eventstore/postgres/test_lease_machine.py"
_KEEPER = "tests/actors/owning/test_keeper.py"
_LEASES = "tests/actors/delivering/test_subscription_leases.py"
_LISTENING = "tests/conformance/port/test_listening.py"
_OWNERSHIP = "tests/conformance/port/test_ownership.py"
_SIBLINGS = "tests/actors/delivering/test_subscription_siblings.py"

OWNING = (
    Mutant(
        name="claim-of-a-living-owner",
        guarantee="G16",
        breaks="Whoever claims is granted, though the lease of another runs.",
        file=_SCHEMA,
        before="OR v_row.owner = p_owner OR v_row.expires_at <= v_now",
        after="OR v_row.owner = p_owner OR v_row.expires_at IS NOT NULL",
        killers=(f"{_OWNERSHIP}::test_who_holds_a_subscription_is_named",),
    ),
    Mutant(
        name="lease-for-ever",
        guarantee="G27",
        breaks="Nobody takes over from an owner that was killed.",
        file=_SCHEMA,
        before="OR v_row.owner = p_owner OR v_row.expires_at <= v_now",
        after="OR v_row.owner = p_owner",
        killers=(f"{_OWNERSHIP}::test_a_lease_that_runs_out_frees_the_subscription",),
    ),
    Mutant(
        name="claim-without-lock",
        guarantee="G16",
        breaks="Two that claim at once are both granted.",
        file=_SCHEMA,
        before="""s.subscription_name = p_name FOR UPDATE;
    EXIT WHEN FOUND;""",
        after="""s.subscription_name = p_name;
    EXIT WHEN FOUND;""",
        killers=(f"{_FENCE}::test_a_claim_waits_for_the_one_before_it",),
    ),
    Mutant(
        name="takeover-in-the-same-epoch",
        guarantee="G16",
        breaks="An owner that comes back after another one has its old fence again.",
        file=_SCHEMA,
        before="epoch = s.epoch + CASE WHEN s.owner = p_owner THEN 0 ELSE 1 END,",
        after="epoch = s.epoch,",
        killers=(f"{_FENCE}::test_an_owner_that_comes_back_has_a_new_fence",),
    ),
    Mutant(
        name="mark-without-renewal",
        guarantee="G16",
        breaks="A standby takes over from an owner that has renewed since it was watched.",
        file=_SCHEMA,
        before="""(v_row.owner, v_row.epoch, v_row.renewed_at)
        = (p_watched_owner, p_watched_epoch, p_watched_renewal)""",
        after="""(v_row.owner, v_row.epoch)
        = (p_watched_owner, p_watched_epoch)""",
        killers=(f"{_OWNERSHIP}::test_a_lease_that_nobody_renewed_is_taken_over_by_its_mark",),
    ),
    Mutant(
        name="mark-ignored",
        guarantee="G27",
        breaks="If the database's clock goes back, nobody takes over until it has caught up.",
        file=_SCHEMA,
        before="(v_row.owner, v_row.epoch, v_row.renewed_at)\n",
        after="(NULL::uuid, v_row.epoch, v_row.renewed_at)\n",
        killers=(f"{_OWNERSHIP}::test_a_lease_that_nobody_renewed_is_taken_over_by_its_mark",),
    ),
    Mutant(
        name="current-is-the-origin",
        guarantee="G13",
        breaks="A subscription that starts at the current position starts at the origin.",
        file=_SCHEMA,
        before="coalesce(p_start, v_stream.head), p_start,",
        after="coalesce(p_start, 0), p_start,",
        killers=(f"{_OWNERSHIP}::test_a_new_subscription_starts_where_it_is_asked_to",),
    ),
    Mutant(
        name="standby-in-an-old-incarnation",
        guarantee="G15",
        breaks="Taken over, a stream that was created again is skipped up to the old checkpoint.",
        file=_SCHEMA,
        before="checkpoint = CASE WHEN s.stream_no <> v_stream.stream_no THEN 0"
        " ELSE s.checkpoint END",
        after="checkpoint = s.checkpoint",
        killers=(f"{_FENCE}::test_a_stream_created_again_is_another_one_to_a_standby",),
    ),
    Mutant(
        name="owner-in-an-old-incarnation",
        guarantee="G15",
        breaks="Its owner skips a stream that was created again up to the old checkpoint.",
        file=_SCHEMA,
        before="AND s.subscription_id = r.subscription_id AND s.stream_no <> n.stream_no;",
        after="AND s.subscription_id = r.subscription_id AND false;",
        killers=(f"{_FENCE}::test_a_stream_created_again_is_another_one_to_its_owner",),
    ),
    Mutant(
        name="checkpoint-goes-back",
        guarantee="G16",
        breaks="A checkpoint that comes late takes back one that is stored.",
        file=_SCHEMA,
        before="CASE WHEN p.checkpoint > s.checkpoint AND p.checkpoint <= n.head",
        after="CASE WHEN p.checkpoint <= n.head",
        killers=(f"{_OWNERSHIP}::test_a_checkpoint_moves_forward_only_and_never_beyond_the_head",),
    ),
    Mutant(
        name="checkpoint-beyond-the-head",
        guarantee="G15",
        breaks="Events to come count as acknowledged.",
        file=_SCHEMA,
        before="CASE WHEN p.checkpoint > s.checkpoint AND p.checkpoint <= n.head",
        after="CASE WHEN p.checkpoint > s.checkpoint",
        killers=(f"{_OWNERSHIP}::test_a_checkpoint_moves_forward_only_and_never_beyond_the_head",),
    ),
    Mutant(
        name="fence-without-epoch",
        guarantee="G16",
        breaks="An earlier run of the same owner stores its checkpoint.",
        file=_SCHEMA,
        before="""AND s.owner = p.owner AND s.epoch = p.epoch;

  IF p_lease IS NULL THEN""",
        after="""AND s.owner = p.owner;

  IF p_lease IS NULL THEN""",
        killers=(f"{_OWNERSHIP}::test_a_fence_must_match_in_all_three",),
    ),
    Mutant(
        name="fence-without-owner",
        guarantee="G16",
        breaks="Another owner with the same number of epoch stores its checkpoint.",
        file=_SCHEMA,
        before="""AND s.owner = p.owner AND s.epoch = p.epoch;

  IF p_lease IS NULL THEN""",
        after="""AND s.epoch = p.epoch;

  IF p_lease IS NULL THEN""",
        killers=(f"{_OWNERSHIP}::test_a_fence_must_match_in_all_three",),
    ),
    Mutant(
        name="release-of-another-owner",
        guarantee="G16",
        breaks="An owner of before ends the ownership of the present one.",
        file=_SCHEMA,
        before="""AND s.owner = p.owner AND s.epoch = p.epoch;
    PERFORM""",
        after=""";
    PERFORM""",
        killers=(f"{_OWNERSHIP}::test_after_a_takeover_the_old_owner_changes_nothing",),
    ),
    Mutant(
        name="answer-without-fence",
        guarantee="G16",
        breaks="Who lost the ownership is told that it has it.",
        file=_SCHEMA,
        before="coalesce(s.owner = p.owner AND s.epoch = p.epoch, false)",
        after="coalesce(s.owner IS NOT NULL, false)",
        killers=(f"{_OWNERSHIP}::test_after_a_takeover_the_old_owner_changes_nothing",),
    ),
    Mutant(
        name="release-keeps",
        guarantee="G27",
        breaks="After a clean stop the successor waits for the end of the lease.",
        file=_SCHEMA,
        before="  IF p_lease IS NULL THEN",
        after="  IF false THEN",
        killers=(f"{_OWNERSHIP}::test_a_release_frees_the_subscription_at_once",),
    ),
    Mutant(
        name="release-in-silence",
        guarantee="G27",
        breaks="A standby does not hear that the owner has left.",
        file=_SCHEMA,
        before="PERFORM announce_subscription(id) FROM unnest(v_locked) l(id);",
        after="NULL;",
        killers=(f"{_LISTENING}::test_a_touched_subscription_wakes_a_listener",),
    ),
    Mutant(
        name="pause-in-silence",
        guarantee="G20",
        breaks="A pause from another process is seen at the next look only.",
        file=_SCHEMA,
        before="""  UPDATE subscriptions SET paused = p_paused
   WHERE stream_id = p_stream_id AND subscription_name = p_name
  RETURNING subscription_id INTO v_id;
  PERFORM announce_subscription(v_id) WHERE v_id IS NOT NULL;""",
        after="""  UPDATE subscriptions SET paused = p_paused
   WHERE stream_id = p_stream_id AND subscription_name = p_name
  RETURNING subscription_id INTO v_id;""",
        killers=(f"{_LISTENING}::test_a_touched_subscription_wakes_a_listener",),
    ),
    Mutant(
        name="renewal-is-announced",
        guarantee="G22",
        breaks="Every renewal of every subscription wakes every process.",
        file=_SCHEMA,
        before="""
  RETURN QUERY
    SELECT p.item,""",
        after="""
  PERFORM announce_subscription(id) FROM unnest(v_locked) l(id);
  RETURN QUERY
    SELECT p.item,""",
        killers=(f"{_LISTENING}::test_a_renewal_wakes_nobody",),
    ),
    Mutant(
        name="reset-without-fence",
        guarantee="G16",
        breaks="The owner of before a reset stores its checkpoint over it.",
        file=_SCHEMA,
        before="""epoch = s.epoch + 1, owner = NULL, owner_name = NULL, owned_since = NULL,
         renewed_at = NULL, expires_at = NULL, last_error = NULL, attempts = 0""",
        after="last_error = NULL, attempts = 0",
        killers=(f"{_OWNERSHIP}::test_a_reset_fences_the_owner_and_sets_the_checkpoint",),
    ),
    Mutant(
        name="reset-beyond-the-head",
        guarantee="G15",
        breaks="A reset makes events to come count as acknowledged.",
        file=_SCHEMA,
        before="AND p_position <= v_stream.head;",
        after=";",
        killers=(f"{_OWNERSHIP}::test_a_reset_beyond_the_head_is_refused",),
    ),
    Mutant(
        name="locked-row-holds-all-up",
        guarantee="G16",
        breaks="A row that somebody has locked costs every subscription its lease.",
        file=_SCHEMA,
        before="ORDER BY s.subscription_id FOR UPDATE SKIP LOCKED) l;",
        after="ORDER BY s.subscription_id FOR UPDATE) l;",
        killers=(f"{_DEADLINES}::test_a_row_that_somebody_locked_costs_no_other_its_lease",),
    ),
    Mutant(
        name="locked-row-is-an-error",
        guarantee="G16",
        breaks="A row that stays locked makes the renewal of the others an error.",
        file="eventstore/storages/postgres/subscription_rows.py",
        before="if error.sqlstate == LOCK_NOT_AVAILABLE and not skip_locked:",
        after="if False:",
        killers=(f"{_DEADLINES}::test_a_row_that_stays_locked_is_no_error",),
    ),
    Mutant(
        name="locked-rows-one-after-the-other",
        guarantee="G16",
        breaks="The wait for locked rows takes as long as a lease.",
        file="eventstore/storages/postgres/subscription_rows.py",
        before="blocked_until = min(time.monotonic() + _WAIT_FOR_BLOCKED, deadline)",
        after="blocked_until = deadline",
        killers=(f"{_DEADLINES}::test_many_locked_rows_cost_no_more_time_than_one",),
    ),
    Mutant(
        name="standby-in-a-hurry",
        guarantee="G16",
        breaks="A standby takes over as soon as it sees the same lease twice.",
        file="actors/eventstore_actors/owning/claim.py",
        before="if sight is None or time.monotonic() - sight.since < self._shared.config.lease:",
        after="if sight is None:",
        killers=(
            (
                f"{_CLAIMS}"
                "::test_an_owner_that_does_not_renew_is_followed_whatever_the_databases_clock_says"
            ),
        ),
    ),
    Mutant(
        name="standby-without-memory",
        guarantee="G27",
        breaks="A standby never finds that a lease has not changed, and trusts one clock alone.",
        file="actors/eventstore_actors/owning/claim.py",
        before="elif self._sight is None or self._sight.mark != answer.mark:",
        after="else:",
        killers=(
            (
                f"{_CLAIMS}::"
                "test_an_owner_that_does_not_renew_is_followed_whatever_the_databases_clock_says"
            ),
        ),
    ),
    Mutant(
        name="deleted-and-created-by-a-standby",
        guarantee="G16",
        breaks="A standby creates the subscription again that was deleted while it waited.",
        file="actors/eventstore_actors/owning/claim.py",
        before="        if self._exists:\n",
        after="        if False:\n",
        killers=(f"{_CLAIMS}::test_a_subscription_deleted_while_it_waits_is_not_created_again",),
    ),
    Mutant(
        name="no-renewals",
        guarantee="G16",
        breaks="A living owner loses its subscription at the end of its first lease.",
        file="actors/eventstore_actors/owning/keeper.py",
        before="if now >= self._renewal_at():",
        after="if False:",
        killers=(f"{_KEEPER}::test_a_lease_is_renewed_until_it_is_released",),
    ),
    Mutant(
        name="renewals-at-the-looks-only",
        guarantee="G16",
        breaks="A lease is renewed late, where the looks at pauses come at other moments.",
        file="actors/eventstore_actors/owning/keeper.py",
        before="return min(self._renewal_at(), self._poll_at())",
        after="return self._poll_at()",
        killers=(
            f"{_MACHINE}::test_a_lease_is_renewed_three_times_however_often_pauses_are_looked_at",
        ),
    ),
    Mutant(
        name="lease-from-the-answer-on",
        guarantee="G16",
        breaks="With a slow answer the owner believes in its lease longer than the database.",
        file="actors/eventstore_actors/owning/keeper.py",
        before="self._tell(kept, sent_at + self._config.lease, sent_at)",
        after="self._tell(kept, time.monotonic() + self._config.lease, sent_at)",
        killers=(f"{_KEEPER}::test_a_lease_is_good_from_the_moment_at_which_its_renewal_was_sent",),
    ),
    Mutant(
        name="fenced-and-kept",
        guarantee="G16",
        breaks="The keeper goes on with a fence that is void.",
        file="actors/eventstore_actors/owning/keeper.py",
        before="""        if not kept.owned:
            del self._entries[kept.fence]""",
        after="""        if not kept.owned:
            pass""",
        killers=(f"{_KEEPER}::test_who_was_fenced_is_told_once_and_forgotten",),
    ),
    Mutant(
        name="progress-not-stored",
        guarantee="G13",
        breaks="A new checkpoint is stored with the next renewal only.",
        file="actors/eventstore_actors/owning/keeper.py",
        before="""            entry.subscription = message.subscription
            entry.stored = False""",
        after="            entry.subscription = message.subscription",
        killers=(f"{_KEEPER}::test_progress_is_stored_long_before_the_next_renewal",),
    ),
    Mutant(
        name="stopped-without-storing",
        guarantee="G26",
        breaks="What was acknowledged last is not stored at the end.",
        file="actors/eventstore_actors/owning/keeper.py",
        before="        self._write(self._changed(), min(deadline, self._deadline()))\n",
        after="",
        killers=(f"{_KEEPER}::test_a_stopped_keeper_has_stored_what_it_was_told",),
    ),
    Mutant(
        name="pauses-elsewhere-unseen",
        guarantee="G20",
        breaks="Where no announcement comes, a pause from another process has no effect.",
        file="actors/eventstore_actors/owning/keeper.py",
        before="            self._poll_pauses()\n",
        after="",
        killers=(f"{_KEEPER}::test_a_pause_or_an_end_elsewhere_is_seen_within_the_poll_interval",),
    ),
    Mutant(
        name="delivery-after-the-lease",
        guarantee="G16",
        breaks="An owner whose lease ran out goes on delivering.",
        file="actors/eventstore_actors/delivering/run_state.py",
        before="return time.monotonic() < self.good_until",
        after="return True",
        killers=(f"{_LEASES}::test_an_actor_is_told_nothing_after_the_lease_ran_out",),
    ),
    Mutant(
        name="batch-begun-after-the-lease",
        guarantee="G16",
        breaks="A function begins a batch that was sent before the lease ran out.",
        file="actors/eventstore_actors/delivering/function_subscriber.py",
        before="if not self._letters or time.monotonic() >= self._good_until:",
        after="if not self._letters:",
        killers=(
            "tests/actors/delivering/test_mailbox.py::test_nothing_is_fetched_after_the_end_of_the_lease",
        ),
    ),
    Mutant(
        name="fenced-and-going-on",
        guarantee="G16",
        breaks="A subscription that was told of another owner goes on.",
        file="actors/eventstore_actors/delivering/subscription_actor.py",
        before="        if not kept.owned:\n            self._fenced()\n            return\n",
        after="",
        killers=(
            f"{_LEASES}::test_a_fenced_subscription_starts_a_new_run_after_the_stored_checkpoint",
        ),
    ),
    Mutant(
        name="ended-without-release",
        guarantee="G27",
        breaks="A subscription that ends in order keeps its lease.",
        file="actors/eventstore_actors/delivering/subscription_actor.py",
        before="        if error is None:\n            self._release()\n",
        after="        if error is None:\n",
        killers=(f"{_SIBLINGS}::test_the_last_progress_goes_with_the_release",),
    ),
    Mutant(
        name="late-pause",
        guarantee="G20",
        breaks="A renewal asked before our own pause ends it.",
        file="actors/eventstore_actors/delivering/subscription_actor.py",
        before="if message.asked_at > self._paused_at and",
        after="if",
        killers=(f"{_LEASES}::test_what_the_keeper_asked_before_a_pause_does_not_end_it",),
    ),
)
