"""Mutants of who owns a subscription: claims, leases, the fence, pauses, resets, deletes."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import after, constant, remove, replace
from tests.mutants.places.python_place import function
from tests.mutants.places.sql_place import sql_function

__all__ = ["OWNING"]

_CLAIMS = "tests/actors/owning/test_subscription_claims.py"
_DEADLINES = "tests/eventstore/postgres/test_deadlines.py"
_FENCE = "tests/eventstore/postgres/test_fence.py"
_MANY = "tests/acceptance/guarantees/test_many_subscriptions.py"
_MACHINE = "tests/eventstore/postgres/test_lease_machine.py"
_KEEPER = "tests/actors/owning/test_keeper.py"
_LEASES = "tests/actors/delivering/test_subscription_leases.py"
_LISTENING = "tests/conformance/port/test_listening.py"
_OWNERSHIP = "tests/conformance/port/test_ownership.py"
_PARKING = "tests/conformance/port/test_parking.py"
_SIBLINGS = "tests/actors/delivering/test_subscription_siblings.py"

_WITHOUT_FENCE = "UPDATE positions SET epoch = epoch - 1 WHERE position_id = ANY (v_locked)"

_ANNOUNCED = """
self._shared.announcements.note_subscriptions(each.subscription_id for each in written)
"""

OWNING = (
    Mutant(
        name="claim-of-a-living-owner",
        guarantee="G16",
        breaks="Whoever claims is granted, though the lease of another runs.",
        where=sql_function("claim_subscription")
        .condition(mentioning="p_watched_owner")
        .conjunct(mentioning="p_owner")
        .alternative(mentioning="expires_at"),
        change=replace("v_lease.expires_at IS NOT NULL"),
        killers=(f"{_OWNERSHIP}::test_who_holds_a_subscription_is_named",),
    ),
    Mutant(
        name="lease-for-ever",
        guarantee="G27",
        breaks="Nobody takes over from an owner that was killed.",
        where=sql_function("claim_subscription")
        .condition(mentioning="p_watched_owner")
        .conjunct(mentioning="p_owner")
        .alternative(mentioning="expires_at"),
        change=remove,
        killers=(f"{_OWNERSHIP}::test_a_lease_that_runs_out_frees_the_subscription",),
    ),
    Mutant(
        name="claim-without-lock",
        guarantee="G16",
        breaks="Two that claim at once are both granted.",
        where=sql_function("claim_subscription")
        .statement("SELECT * INTO v_position", 0)
        .phrase("FOR NO KEY UPDATE SKIP LOCKED"),
        change=remove,
        killers=(f"{_FENCE}::test_a_claim_passes_over_a_row_that_another_one_has_locked",),
    ),
    Mutant(
        name="claim-waits-for-a-lock",
        guarantee="G27",
        breaks="A standby hangs in its claim while a transaction has locked the position.",
        where=sql_function("claim_subscription")
        .statement("SELECT * INTO v_position", 0)
        .phrase("SKIP LOCKED"),
        change=remove,
        killers=(f"{_FENCE}::test_a_claim_passes_over_a_row_that_another_one_has_locked",),
    ),
    Mutant(
        name="takeover-in-the-same-epoch",
        guarantee="G16",
        breaks="An owner that comes back after another one has its old fence again.",
        where=sql_function("claim_subscription").statement("UPDATE positions").assigned("epoch"),
        change=replace("p.epoch"),
        killers=(f"{_FENCE}::test_an_owner_that_comes_back_has_a_new_fence",),
    ),
    Mutant(
        name="mark-without-renewal",
        guarantee="G16",
        breaks="A standby takes over from an owner that has renewed since it was watched.",
        where=sql_function("claim_subscription")
        .condition(mentioning="p_watched_owner")
        .conjunct(mentioning="p_owner")
        .alternative(mentioning="p_watched_owner"),
        change=replace("(v_position.owner, v_position.epoch) = (p_watched_owner, p_watched_epoch)"),
        killers=(f"{_OWNERSHIP}::test_a_lease_that_nobody_renewed_is_taken_over_by_its_mark",),
    ),
    Mutant(
        name="mark-ignored",
        guarantee="G27",
        breaks="If the database's clock goes back, nobody takes over until it has caught up.",
        where=sql_function("claim_subscription")
        .condition(mentioning="p_watched_owner")
        .conjunct(mentioning="p_owner")
        .alternative(mentioning="p_watched_owner"),
        change=remove,
        killers=(f"{_OWNERSHIP}::test_a_lease_that_nobody_renewed_is_taken_over_by_its_mark",),
    ),
    Mutant(
        name="current-is-the-origin",
        guarantee="G13",
        breaks="A subscription that starts at the current position starts at the origin.",
        where=sql_function("create_subscription")
        .call("coalesce", mentioning="p_start")
        .argument(1),
        change=constant(0),
        killers=(f"{_OWNERSHIP}::test_a_new_subscription_starts_where_it_is_asked_to",),
    ),
    Mutant(
        name="checkpoint-of-a-stream-that-is-gone",
        guarantee="G15",
        breaks="A stream that was created again is skipped up to the checkpoint in the one before.",
        where=sql_function("start_over").statement("UPDATE positions").assigned("checkpoint"),
        change=replace("checkpoint"),
        killers=(f"{_FENCE}::test_a_stream_created_again_is_another_one_to_a_standby",),
    ),
    Mutant(
        name="owner-of-a-stream-that-is-gone",
        guarantee="G15",
        breaks="Who counted in a stream that is gone stores its checkpoint in the next one.",
        where=sql_function("start_over").statement("PERFORM free_positions"),
        change=remove,
        killers=(f"{_FENCE}::test_a_stream_created_again_is_another_one_to_its_owner",),
    ),
    Mutant(
        name="checkpoint-goes-back",
        guarantee="G16",
        breaks="A checkpoint that comes late takes back one that is stored.",
        where=sql_function("move_positions")
        .statement("UPDATE positions")
        .where()
        .conjunct(mentioning="m.checkpoint > p.checkpoint"),
        change=constant(True),
        killers=(f"{_OWNERSHIP}::test_a_checkpoint_that_comes_late_takes_back_nothing",),
    ),
    Mutant(
        name="checkpoint-beyond-the-head",
        guarantee="G15",
        breaks="Events to come count as acknowledged.",
        where=sql_function("move_positions")
        .statement("UPDATE positions")
        .where()
        .conjunct(mentioning="subscribed_head"),
        change=remove,
        killers=(f"{_FENCE}::test_a_checkpoint_stays_within_the_stream",),
    ),
    Mutant(
        name="parked-beyond-the-head",
        guarantee="G38",
        breaks="An event that the database has lost is parked, and one to come with it.",
        where=sql_function("park_events")
        .condition(mentioning="head_of_subscription")
        .alternative(mentioning="head_of_subscription"),
        change=remove,
        killers=(f"{_PARKING}::test_an_event_beyond_the_head_is_not_parked",),
    ),
    Mutant(
        name="fence-without-epoch",
        guarantee="G16",
        breaks="An earlier run of the same owner stores its checkpoint.",
        where=sql_function("move_positions")
        .statement("UPDATE positions")
        .where()
        .conjunct(mentioning="p.epoch"),
        change=remove,
        killers=(f"{_OWNERSHIP}::test_a_fence_must_match_in_all_three",),
    ),
    Mutant(
        name="fence-without-owner",
        guarantee="G16",
        breaks="Another owner with the same number of epoch stores its checkpoint.",
        where=sql_function("move_positions")
        .statement("UPDATE positions")
        .where()
        .conjunct(mentioning="p.owner"),
        change=remove,
        killers=(f"{_OWNERSHIP}::test_a_fence_must_match_in_all_three",),
    ),
    Mutant(
        name="renewal-without-epoch",
        guarantee="G16",
        breaks="An earlier run of the same owner renews the lease of the present one.",
        where=sql_function("keep_subscriptions")
        .statement("UPDATE leases")
        .where()
        .conjunct(mentioning="l.epoch"),
        change=remove,
        killers=(f"{_FENCE}::test_a_stale_fence_renews_nothing",),
    ),
    Mutant(
        name="renewal-without-owner",
        guarantee="G16",
        breaks="An owner of before renews the lease of one that died, and nobody takes over.",
        where=sql_function("keep_subscriptions")
        .statement("UPDATE leases")
        .where()
        .conjunct(mentioning="l.owner"),
        change=remove,
        killers=(f"{_FENCE}::test_a_stale_fence_renews_nothing",),
    ),
    Mutant(
        name="release-of-another-owner",
        guarantee="G16",
        breaks="An owner of before ends the ownership of the present one.",
        where=sql_function("release_subscriptions").phrase(
            "AND r.owner = p.owner AND r.epoch = p.epoch"
        ),
        change=remove,
        killers=(f"{_OWNERSHIP}::test_after_a_takeover_the_old_owner_changes_nothing",),
    ),
    Mutant(
        name="answer-without-fence",
        guarantee="G16",
        breaks="Who lost the ownership is told that it has it.",
        where=sql_function("keep_subscriptions").call("coalesce", mentioning="r.owner").argument(0),
        change=replace("r.owner IS NOT NULL"),
        killers=(f"{_OWNERSHIP}::test_after_a_takeover_the_old_owner_changes_nothing",),
    ),
    Mutant(
        name="release-keeps",
        guarantee="G27",
        breaks="After a clean stop the successor waits for the end of the lease.",
        where=sql_function("release_subscriptions").statement("PERFORM free_positions"),
        change=remove,
        killers=(f"{_OWNERSHIP}::test_a_release_frees_the_subscription_at_once",),
    ),
    Mutant(
        name="release-in-silence",
        guarantee="G27",
        breaks="A standby in another process does not hear that the owner has left.",
        where=function("Keeper._release").call("note_subscriptions"),
        change=remove,
        killers=(f"{_KEEPER}::test_releases_are_announced_and_renewals_are_not",),
    ),
    Mutant(
        name="releases-not-collected",
        guarantee="G26",
        breaks="A process that stops releases each subscription in a statement of its own.",
        where=function("Keeper._release_soon").call("append").statement(),
        change=after("self._release()"),
        killers=(f"{_KEEPER}::test_all_releases_go_into_one_statement",),
    ),
    Mutant(
        name="locked-position-not-released",
        guarantee="G27",
        breaks="What a transaction has locked for a moment at the end keeps its lease.",
        where=function("Keeper._release").call("append").statement(),
        change=remove,
        killers=(f"{_MANY}::test_a_locked_position_is_released_when_the_transaction_ends",),
    ),
    Mutant(
        name="pause-in-silence",
        guarantee="G20",
        breaks="A pause from another process is seen at the next look only.",
        where=function("LentSubscriptions._change.change").call("_announce"),
        change=remove,
        killers=(f"{_LISTENING}::test_a_touched_subscription_wakes_a_listener",),
    ),
    Mutant(
        name="renewal-is-announced",
        guarantee="G22",
        breaks="Every renewal of every subscription wakes every process.",
        where=function("Keeper._write").call("_note_back").statement(),
        change=after(_ANNOUNCED),
        killers=(f"{_KEEPER}::test_releases_are_announced_and_renewals_are_not",),
    ),
    Mutant(
        name="reset-without-fence",
        guarantee="G16",
        breaks="The owner of before a reset stores its checkpoint over it.",
        where=sql_function("set_back").statement("PERFORM free_positions"),
        change=replace(_WITHOUT_FENCE),
        killers=(f"{_OWNERSHIP}::test_a_reset_fences_the_owner_and_sets_the_checkpoint",),
    ),
    Mutant(
        name="reset-beyond-the-head",
        guarantee="G15",
        breaks="A reset makes events to come count as acknowledged.",
        where=sql_function("reset_subscription").condition(),
        change=constant(True),
        killers=(f"{_OWNERSHIP}::test_a_reset_beyond_the_head_is_refused",),
    ),
    Mutant(
        name="locked-lease-holds-all-up",
        guarantee="G16",
        breaks="A lease that somebody has locked costs every subscription its lease.",
        where=sql_function("keep_subscriptions")
        .statement("SELECT array_agg(k.place ORDER BY p.item) INTO v_leases")
        .phrase("SKIP LOCKED"),
        change=remove,
        killers=(f"{_DEADLINES}::test_a_lease_that_somebody_locked_costs_no_other_its_lease",),
    ),
    Mutant(
        name="locked-position-costs-the-lease",
        guarantee="G16",
        breaks="A position that a transaction has locked costs every subscription its lease.",
        where=sql_function("keep_subscriptions")
        .statement("SELECT array_agg(k.place ORDER BY p.item) INTO v_places")
        .phrase("SKIP LOCKED"),
        change=remove,
        killers=(f"{_DEADLINES}::test_a_position_that_somebody_locked_costs_nobody_a_lease",),
    ),
    Mutant(
        name="locked-checkpoint-called-stored",
        guarantee="G13",
        breaks="A checkpoint that a locked position did not take is never sent again.",
        where=sql_function("keep_subscriptions")
        .statement("RETURN QUERY")
        .phrase("p.place IS NOT NULL"),
        change=constant(True),
        killers=(f"{_DEADLINES}::test_a_position_that_somebody_locked_costs_nobody_a_lease",),
    ),
    Mutant(
        name="locked-checkpoint-taken-for-stored",
        guarantee="G13",
        breaks="The keeper does not repeat a checkpoint that a locked position did not take.",
        where=function("Keeper._tell").assigned("stored"),
        change=constant(True),
        killers=(f"{_KEEPER}::test_a_row_that_is_locked_delays_no_other",),
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
        where=function("Claimant._watch").boolean("or"),
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
        where=function("SubscriptionRows.claim").comparison("is", 0),
        change=constant(True),
        killers=(f"{_FENCE}::test_a_claim_by_id_means_that_subscription_and_creates_none",),
    ),
    Mutant(
        name="another-one-of-the-same-name",
        guarantee="G16",
        breaks="A standby takes over another subscription that has the name by now.",
        where=sql_function("claim_subscription").condition(mentioning="p_subscription_id"),
        change=constant(False),
        killers=(f"{_FENCE}::test_a_claim_by_id_means_that_subscription_and_creates_none",),
    ),
    Mutant(
        name="claimed-by-name-again",
        guarantee="G16",
        breaks="Every claim of a standby is by name.",
        where=function("Claimant._claim").keyword("subscription_id"),
        change=constant(None),
        killers=(f"{_CLAIMS}::test_every_claim_after_the_first_is_by_id",),
    ),
    Mutant(
        name="standby-not-looked-for",
        guarantee="G27",
        breaks="Nobody looks at the row that a standby waits for.",
        where=function("SubscriptionActor._stand_by").call("tell"),
        change=remove,
        killers=(f"{_CLAIMS}::test_a_standby_that_is_woken_claims_at_once",),
    ),
    Mutant(
        name="clock-believed-that-was-set-back",
        guarantee="G17",
        breaks="An owner that died before the database's clock went back counts as connected.",
        where=function("SubscriptionActor._claimed").condition(mentioning="must_watch"),
        change=constant(False),
        killers=(
            "tests/acceptance/guarantees/test_clocks.py::test_whoever_will_not_wait_takes_over_from_an_owner_that_died_before_the_clock_went_back",
        ),
    ),
    Mutant(
        name="free-and-not-claimed",
        guarantee="G27",
        breaks="A look that finds a subscription free makes no standby claim it.",
        where=function("Claimant.sees").condition(),
        change=constant(False),
        killers=(f"{_CLAIMS}::test_a_standby_that_is_woken_claims_at_once",),
    ),
    Mutant(
        name="expired-and-not-claimed",
        guarantee="G27",
        breaks="A look that finds the lease of a dead owner run out makes no standby claim it.",
        where=function("Claimant.sees").condition().part(mentioning="expired"),
        change=remove,
        killers=(f"{_CLAIMS}::test_an_owner_whose_lease_ran_out_is_followed_at_the_next_look",),
    ),
    Mutant(
        name="look-at-the-wrong-rows",
        guarantee="G27",
        breaks="An announced change makes the keeper look at no row that somebody awaits.",
        where=function("Keeper._look_at_touched").call("_look").part(1),
        change=replace("[]"),
        killers=(f"{_CLAIMS}::test_a_standby_that_is_woken_claims_at_once",),
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
        where=function("Keeper._next_moment").returned(mentioning="min"),
        change=replace("self._look_at()"),
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
        where=function("Keeper._work").call("_look"),
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
