"""Mutants of who owns a subscription: claims, leases, the fence, pauses, resets, deletes."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import before, constant, remove, replace
from tests.mutants.places.python_place import function
from tests.mutants.places.sql_place import sql_function

__all__ = ["OWNING"]

_CLAIMS = "tests/actors/owning/test_subscription_claims.py"
_DEADLINES = "tests/eventstore/postgres/test_deadlines.py"
_FENCE = "tests/eventstore/postgres/test_fence.py"
_MACHINE = "tests/eventstore/postgres/test_lease_machine.py"
_KEEPER = "tests/actors/owning/test_keeper.py"
_LEASES = "tests/actors/delivering/test_subscription_leases.py"
_LISTENING = "tests/conformance/port/test_listening.py"
_OWNERSHIP = "tests/conformance/port/test_ownership.py"
_SIBLINGS = "tests/actors/delivering/test_subscription_siblings.py"

_WITHOUT_FENCE = """stream_no = coalesce(v_stream.stream_no, s.stream_no), checkpoint = p_position,
         last_error = NULL, attempts = 0"""

OWNING = (
    Mutant(
        name="claim-of-a-living-owner",
        guarantee="G16",
        breaks="Whoever claims is granted, though the lease of another runs.",
        where=sql_function("claim_subscription").condition().alternative(mentioning="expires_at"),
        change=replace("v_row.expires_at IS NOT NULL"),
        killers=(f"{_OWNERSHIP}::test_who_holds_a_subscription_is_named",),
    ),
    Mutant(
        name="lease-for-ever",
        guarantee="G27",
        breaks="Nobody takes over from an owner that was killed.",
        where=sql_function("claim_subscription").condition().alternative(mentioning="expires_at"),
        change=remove,
        killers=(f"{_OWNERSHIP}::test_a_lease_that_runs_out_frees_the_subscription",),
    ),
    Mutant(
        name="claim-without-lock",
        guarantee="G16",
        breaks="Two that claim at once are both granted.",
        where=sql_function("claim_subscription")
        .statement("SELECT * INTO v_row")
        .phrase("FOR UPDATE"),
        change=remove,
        killers=(f"{_FENCE}::test_a_claim_waits_for_the_one_before_it",),
    ),
    Mutant(
        name="takeover-in-the-same-epoch",
        guarantee="G16",
        breaks="An owner that comes back after another one has its old fence again.",
        where=sql_function("claim_subscription").statement("UPDATE").assigned("epoch"),
        change=replace("s.epoch"),
        killers=(f"{_FENCE}::test_an_owner_that_comes_back_has_a_new_fence",),
    ),
    Mutant(
        name="mark-without-renewal",
        guarantee="G16",
        breaks="A standby takes over from an owner that has renewed since it was watched.",
        where=sql_function("claim_subscription")
        .condition()
        .alternative(mentioning="p_watched_owner"),
        change=replace("(v_row.owner, v_row.epoch) = (p_watched_owner, p_watched_epoch)"),
        killers=(f"{_OWNERSHIP}::test_a_lease_that_nobody_renewed_is_taken_over_by_its_mark",),
    ),
    Mutant(
        name="mark-ignored",
        guarantee="G27",
        breaks="If the database's clock goes back, nobody takes over until it has caught up.",
        where=sql_function("claim_subscription")
        .condition()
        .alternative(mentioning="p_watched_owner"),
        change=remove,
        killers=(f"{_OWNERSHIP}::test_a_lease_that_nobody_renewed_is_taken_over_by_its_mark",),
    ),
    Mutant(
        name="current-is-the-origin",
        guarantee="G13",
        breaks="A subscription that starts at the current position starts at the origin.",
        where=sql_function("claim_subscription").call("coalesce", mentioning="p_start").argument(1),
        change=constant(0),
        killers=(f"{_OWNERSHIP}::test_a_new_subscription_starts_where_it_is_asked_to",),
    ),
    Mutant(
        name="standby-in-an-old-incarnation",
        guarantee="G15",
        breaks="Taken over, a stream that was created again is skipped up to the old checkpoint.",
        where=sql_function("claim_subscription").statement("UPDATE").assigned("checkpoint"),
        change=replace("s.checkpoint"),
        killers=(f"{_FENCE}::test_a_stream_created_again_is_another_one_to_a_standby",),
    ),
    Mutant(
        name="owner-in-an-old-incarnation",
        guarantee="G15",
        breaks="Its owner skips a stream that was created again up to the old checkpoint.",
        where=sql_function("keep_subscriptions")
        .statement("UPDATE", 0)
        .where()
        .conjunct(mentioning="s.stream_no"),
        change=constant(False),
        killers=(f"{_FENCE}::test_a_stream_created_again_is_another_one_to_its_owner",),
    ),
    Mutant(
        name="checkpoint-goes-back",
        guarantee="G16",
        breaks="A checkpoint that comes late takes back one that is stored.",
        where=sql_function("keep_subscriptions")
        .statement("UPDATE", 1)
        .assigned("checkpoint")
        .when()
        .conjunct(mentioning="s.checkpoint"),
        change=remove,
        killers=(f"{_OWNERSHIP}::test_a_checkpoint_moves_forward_only_and_never_beyond_the_head",),
    ),
    Mutant(
        name="checkpoint-beyond-the-head",
        guarantee="G15",
        breaks="Events to come count as acknowledged.",
        where=sql_function("keep_subscriptions")
        .statement("UPDATE", 1)
        .assigned("checkpoint")
        .when()
        .conjunct(mentioning="n.head"),
        change=remove,
        killers=(f"{_OWNERSHIP}::test_a_checkpoint_moves_forward_only_and_never_beyond_the_head",),
    ),
    Mutant(
        name="fence-without-epoch",
        guarantee="G16",
        breaks="An earlier run of the same owner stores its checkpoint.",
        where=sql_function("keep_subscriptions")
        .statement("UPDATE", 1)
        .where(mentioning="s.owner")
        .conjunct(mentioning="s.epoch"),
        change=remove,
        killers=(f"{_OWNERSHIP}::test_a_fence_must_match_in_all_three",),
    ),
    Mutant(
        name="fence-without-owner",
        guarantee="G16",
        breaks="Another owner with the same number of epoch stores its checkpoint.",
        where=sql_function("keep_subscriptions")
        .statement("UPDATE", 1)
        .where(mentioning="s.owner")
        .conjunct(mentioning="s.owner"),
        change=remove,
        killers=(f"{_OWNERSHIP}::test_a_fence_must_match_in_all_three",),
    ),
    Mutant(
        name="release-of-another-owner",
        guarantee="G16",
        breaks="An owner of before ends the ownership of the present one.",
        where=sql_function("keep_subscriptions").statement("UPDATE", 2).where(),
        change=replace("s.subscription_id = p.id AND s.subscription_id = ANY (v_locked)"),
        killers=(f"{_OWNERSHIP}::test_after_a_takeover_the_old_owner_changes_nothing",),
    ),
    Mutant(
        name="answer-without-fence",
        guarantee="G16",
        breaks="Who lost the ownership is told that it has it.",
        where=sql_function("keep_subscriptions").call("coalesce", mentioning="s.owner").argument(0),
        change=replace("s.owner IS NOT NULL"),
        killers=(f"{_OWNERSHIP}::test_after_a_takeover_the_old_owner_changes_nothing",),
    ),
    Mutant(
        name="release-keeps",
        guarantee="G27",
        breaks="After a clean stop the successor waits for the end of the lease.",
        where=sql_function("keep_subscriptions").condition(mentioning="p_lease"),
        change=constant(False),
        killers=(f"{_OWNERSHIP}::test_a_release_frees_the_subscription_at_once",),
    ),
    Mutant(
        name="release-in-silence",
        guarantee="G27",
        breaks="A standby does not hear that the owner has left.",
        where=sql_function("keep_subscriptions").statement("PERFORM announce_subscription"),
        change=remove,
        killers=(f"{_LISTENING}::test_a_touched_subscription_wakes_a_listener",),
    ),
    Mutant(
        name="pause-in-silence",
        guarantee="G20",
        breaks="A pause from another process is seen at the next look only.",
        where=sql_function("pause_subscription").statement("PERFORM announce_subscription"),
        change=remove,
        killers=(f"{_LISTENING}::test_a_touched_subscription_wakes_a_listener",),
    ),
    Mutant(
        name="renewal-is-announced",
        guarantee="G22",
        breaks="Every renewal of every subscription wakes every process.",
        where=sql_function("keep_subscriptions").statement("RETURN QUERY"),
        change=before("PERFORM announce_subscription(id) FROM unnest(v_locked) l(id)"),
        killers=(f"{_LISTENING}::test_a_renewal_wakes_nobody",),
    ),
    Mutant(
        name="reset-without-fence",
        guarantee="G16",
        breaks="The owner of before a reset stores its checkpoint over it.",
        where=sql_function("reset_subscription").statement("UPDATE").set_clause(),
        change=replace(_WITHOUT_FENCE),
        killers=(f"{_OWNERSHIP}::test_a_reset_fences_the_owner_and_sets_the_checkpoint",),
    ),
    Mutant(
        name="reset-beyond-the-head",
        guarantee="G15",
        breaks="A reset makes events to come count as acknowledged.",
        where=sql_function("reset_subscription")
        .statement("UPDATE")
        .where()
        .conjunct(mentioning="p_position"),
        change=remove,
        killers=(f"{_OWNERSHIP}::test_a_reset_beyond_the_head_is_refused",),
    ),
    Mutant(
        name="locked-row-holds-all-up",
        guarantee="G16",
        breaks="A row that somebody has locked costs every subscription its lease.",
        where=sql_function("keep_subscriptions").phrase("SKIP LOCKED"),
        change=remove,
        killers=(f"{_DEADLINES}::test_a_row_that_somebody_locked_costs_no_other_its_lease",),
    ),
    Mutant(
        name="locked-row-is-an-error",
        guarantee="G16",
        breaks="A row that stays locked makes the renewal of the others an error.",
        where=function("PostgresKeeperSession._send.send").condition(),
        change=constant(False),
        killers=(f"{_DEADLINES}::test_a_row_that_stays_locked_is_no_error",),
    ),
    Mutant(
        name="locked-rows-one-after-the-other",
        guarantee="G16",
        breaks="The wait for locked rows takes as long as a lease.",
        where=function("PostgresKeeperSession.keep").assigned("blocked_until"),
        change=replace("deadline"),
        killers=(f"{_DEADLINES}::test_many_locked_rows_cost_no_more_time_than_one",),
    ),
    Mutant(
        name="standby-in-a-hurry",
        guarantee="G16",
        breaks="A standby takes over as soon as it sees the same lease twice.",
        where=function("Claimant._dead_mark").condition().part(mentioning="since"),
        change=remove,
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
        where=function("Claimant._look_at").condition(mentioning="mark"),
        change=constant(True),
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
        where=function("Claimant.claim").condition(),
        change=constant(False),
        killers=(f"{_CLAIMS}::test_a_subscription_deleted_while_it_waits_is_not_created_again",),
    ),
    Mutant(
        name="no-renewals",
        guarantee="G16",
        breaks="A living owner loses its subscription at the end of its first lease.",
        where=function("Keeper._work").condition(mentioning="_renewal_at"),
        change=constant(False),
        killers=(f"{_KEEPER}::test_a_lease_is_renewed_until_it_is_released",),
    ),
    Mutant(
        name="renewals-at-the-looks-only",
        guarantee="G16",
        breaks="A lease is renewed late, where the looks at pauses come at other moments.",
        where=function("Keeper._next_moment").returned(1),
        change=replace("self._poll_at()"),
        killers=(
            f"{_MACHINE}::test_a_lease_is_renewed_three_times_however_often_pauses_are_looked_at",
        ),
    ),
    Mutant(
        name="lease-from-the-answer-on",
        guarantee="G16",
        breaks="With a slow answer the owner believes in its lease longer than the database.",
        where=function("Keeper._write").call("_tell").part(1).reference("sent_at"),
        change=replace("time.monotonic()"),
        killers=(f"{_KEEPER}::test_a_lease_is_good_from_the_moment_at_which_its_renewal_was_sent",),
    ),
    Mutant(
        name="fenced-and-kept",
        guarantee="G16",
        breaks="The keeper goes on with a fence that is void.",
        where=function("Keeper._tell").condition(mentioning="owned"),
        change=constant(False),
        killers=(f"{_KEEPER}::test_who_was_fenced_is_told_once_and_forgotten",),
    ),
    Mutant(
        name="progress-not-stored",
        guarantee="G13",
        breaks="A new checkpoint is stored with the next renewal only.",
        where=function("Keeper._take").assignment("stored"),
        change=remove,
        killers=(f"{_KEEPER}::test_progress_is_stored_long_before_the_next_renewal",),
    ),
    Mutant(
        name="stopped-without-storing",
        guarantee="G26",
        breaks="What was acknowledged last is not stored at the end.",
        where=function("Keeper.stopping").call("_write"),
        change=remove,
        killers=(f"{_KEEPER}::test_a_stopped_keeper_has_stored_what_it_was_told",),
    ),
    Mutant(
        name="pauses-elsewhere-unseen",
        guarantee="G20",
        breaks="Where no announcement comes, a pause from another process has no effect.",
        where=function("Keeper._work").call("_poll_pauses"),
        change=remove,
        killers=(f"{_KEEPER}::test_a_pause_or_an_end_elsewhere_is_seen_within_the_poll_interval",),
    ),
    Mutant(
        name="delivery-after-the-lease",
        guarantee="G16",
        breaks="An owner whose lease ran out goes on delivering.",
        where=function("Run.is_held").returned(),
        change=constant(True),
        killers=(f"{_LEASES}::test_an_actor_is_told_nothing_after_the_lease_ran_out",),
    ),
    Mutant(
        name="batch-begun-after-the-lease",
        guarantee="G16",
        breaks="A function begins a batch that was sent before the lease ran out.",
        where=function("Mailbox.fetch").condition().part(mentioning="_good_until"),
        change=remove,
        killers=(
            "tests/actors/delivering/test_mailbox.py::test_nothing_is_fetched_after_the_end_of_the_lease",
        ),
    ),
    Mutant(
        name="fenced-and-going-on",
        guarantee="G16",
        breaks="A subscription that was told of another owner goes on.",
        where=function("SubscriptionActor._renewed").condition(mentioning="owned"),
        change=constant(False),
        killers=(
            f"{_LEASES}::test_a_fenced_subscription_starts_a_new_run_after_the_stored_checkpoint",
        ),
    ),
    Mutant(
        name="ended-without-release",
        guarantee="G27",
        breaks="A subscription that ends in order keeps its lease.",
        where=function("SubscriptionActor.teardown").call("_release"),
        change=remove,
        killers=(f"{_SIBLINGS}::test_the_last_progress_goes_with_the_release",),
    ),
    Mutant(
        name="late-pause",
        guarantee="G20",
        breaks="A renewal asked before our own pause ends it.",
        where=function("SubscriptionActor._renewed").boolean("and").part(mentioning="asked_at"),
        change=remove,
        killers=(f"{_LEASES}::test_what_the_keeper_asked_before_a_pause_does_not_end_it",),
    ),
)
