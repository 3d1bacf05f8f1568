"""Mutants of delivery: order, skipping, limits, redelivery, acknowledgements."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import attribute, before, calls, constant, once, remove, replace
from tests.mutants.places.python_place import function
from tests.mutants.places.sql_place import sql_function

__all__ = ["DELIVERING"]

_ACKS = "tests/conformance/subscriptions/test_acknowledging.py"
_CHECKPOINTS = "tests/actors/delivering/test_subscription_checkpoints.py"
_CAUTION = "tests/actors/delivering/test_subscription_caution.py"
_COMMITS = "tests/eventstore/postgres/test_commit_proof.py"
_DEADLY = "tests/acceptance/guarantees/test_deadly_events.py"
_ENDS = "tests/actors/delivering/test_subscription_ends.py"
_ANSWERS = "tests/conformance/subscriptions/test_answers.py"
_OUTAGES = "tests/conformance/subscriptions/test_outages.py"
_OWNERSHIP = "tests/conformance/port/test_ownership.py"
_PARKED = "tests/conformance/port/test_parking.py"
_PARKING = "tests/conformance/subscriptions/test_parking.py"
_GATHERING = "tests/conformance/subscriptions/test_gathering_actors.py"
_REFUSING = "tests/conformance/subscriptions/test_refusing.py"
_FAILING = "tests/conformance/subscriptions/test_failing_batches.py"
_FOREIGN = "tests/conformance/subscriptions/test_foreign_acks.py"
_FAILURES = "tests/actors/delivering/test_subscription_failures.py"
_MAILBOX = "tests/actors/delivering/test_mailbox.py"
_PARKING_UNHEARD = "tests/actors/delivering/test_subscription_parking.py"
_REMOVED = "tests/eventstore/postgres/test_removed_events.py"
_POLICY = "tests/actors/delivering/test_checkpoint_policy.py"
_PREPARING = "tests/actors/delivering/test_subscription_preparing.py"
_SIBLINGS = "tests/actors/delivering/test_subscription_siblings.py"
_STORING = "tests/conformance/subscriptions/test_storing_checkpoints.py"
_UNIT = "tests/actors/delivering/test_delivery.py"
_ROOM = "tests/actors/delivering/test_parked_room.py"
_LEASES = "tests/actors/delivering/test_subscription_leases.py"
_SELECTING = "tests/conformance/subscriptions/test_selecting.py"
_HISTORY = "tests/actors/delivering/test_subscription_history.py"

DELIVERING = (
    Mutant(
        name="ack-of-one-event",
        guarantee="G19",
        breaks="An acknowledgement counts for the oldest event alone.",
        where=function("ParcelQueue.drop_up_to").condition().statement(),
        change=once,
        killers=(f"{_UNIT}::test_acknowledging_is_cumulative",),
    ),
    Mutant(
        name="ack-of-one-event-more",
        guarantee="G15",
        breaks="An acknowledgement counts for the event after it, too.",
        where=function("ParcelQueue.drop_up_to").condition().reference("position", 0),
        change=attribute("before"),
        killers=(f"{_UNIT}::test_acknowledging_is_cumulative",),
    ),
    Mutant(
        name="ack-of-the-unsent",
        guarantee="G19",
        breaks="What was never sent can be acknowledged.",
        where=function("Delivery.acknowledge").condition(mentioning="sent").reference("sent"),
        change=attribute("_read"),
        killers=(f"{_UNIT}::test_acknowledging_what_was_not_sent_changes_nothing",),
    ),
    Mutant(
        name="checkpoint-of-the-sent",
        guarantee="G15",
        breaks="The oldest event in flight counts as acknowledged.",
        where=function("Delivery.checkpoint").returned(mentioning="before"),
        change=attribute("position"),
        killers=(f"{_UNIT}::test_acknowledging_is_cumulative",),
    ),
    Mutant(
        name="checkpoint-of-the-queued",
        guarantee="G15",
        breaks="Events that were read and not sent count as acknowledged.",
        where=function("Delivery.checkpoint").iterated().part(mentioning="_queue"),
        change=remove,
        killers=(
            f"{_UNIT}::test_filtered_events_count_as_acknowledged_once_everything_before_them_is",
        ),
    ),
    Mutant(
        name="batch-of-several-streams",
        guarantee="G18",
        breaks="A batch by stream mixes streams.",
        where=function("Delivery.next_batch").condition(mentioning="only"),
        change=constant(False),
        killers=(f"{_UNIT}::test_a_batch_holds_events_of_one_stream",),
    ),
    Mutant(
        name="batch-of-any-size",
        guarantee="G18",
        breaks="A batch is as large as the buffer.",
        where=function("Delivery.next_batch").reference("limit"),
        change=replace("limits.buffer_size"),
        killers=(f"{_UNIT}::test_batches_hold_at_most_the_batch_size_in_order",),
    ),
    Mutant(
        name="window-of-any-size",
        guarantee="G18",
        breaks="More events are in flight than the buffer holds.",
        where=function("Delivery.next_batch").assigned("most").call("len"),
        change=constant(0),
        killers=(f"{_UNIT}::test_each_acknowledged_event_makes_room_for_one_more",),
    ),
    Mutant(
        name="window-of-any-bytes",
        guarantee="G18",
        breaks="More bytes are in flight than the buffer holds.",
        where=function("Delivery.next_batch").call("extend").part(mentioning="size"),
        change=constant(0),
        killers=(f"{_UNIT}::test_bytes_in_flight_are_bounded",),
    ),
    Mutant(
        name="large-event-stalls",
        guarantee="G13",
        breaks="An event larger than the buffer is never sent, nor anything after it.",
        where=function("Delivery.next_batch")
        .condition(mentioning="room")
        .part(mentioning="is_alone"),
        change=remove,
        killers=(f"{_UNIT}::test_an_event_larger_than_the_buffer_goes_alone",),
    ),
    Mutant(
        name="reading-without-bound",
        guarantee="G22",
        breaks="The backlog is read into memory while the subscriber does nothing.",
        where=function("Delivery.begin_read").condition(mentioning="buffer_size"),
        change=constant(False),
        killers=(f"{_UNIT}::test_it_reads_ahead_no_more_than_may_be_in_flight",),
    ),
    Mutant(
        name="redelivery-after-the-sent",
        guarantee="G13",
        breaks="After a failure it goes on behind what was sent and not acknowledged.",
        where=function("Delivery.redeliver").assignment("_read"),
        change=remove,
        killers=(f"{_UNIT}::test_a_redelivery_starts_right_after_the_checkpoint",),
    ),
    Mutant(
        name="much-read-after-a-failure",
        guarantee="G22",
        breaks="After each failure all that was read ahead is read again.",
        where=function("Delivery.redeliver").assignment("_is_wary"),
        change=remove,
        killers=(
            f"{_UNIT}::test_after_a_failure_it_reads_one_batch_until_something_is_acknowledged",
        ),
    ),
    Mutant(
        name="room-for-any-number-of-a-key",
        guarantee="G38",
        breaks="Of one key, more is parked than max_parked_per_key.",
        where=function("ParkedRoom.bounds_for").assigned("has_room", 1),
        change=constant(True),
        killers=(f"{_ROOM}::test_it_is_counted_only_near_the_bounds",),
    ),
    Mutant(
        name="forgotten-and-left-out",
        guarantee="G15",
        breaks="After a deletion, what was read and not sent is left out.",
        where=function("Delivery.forget_queued").assignment("_read"),
        change=remove,
        killers=(f"{_UNIT}::test_what_was_not_sent_can_be_forgotten_and_is_read_again",),
    ),
    Mutant(
        name="deleted-and-sent",
        guarantee="G13",
        breaks="What was read before it was deleted is sent after that.",
        where=function("Delivery.forget_queued").call("clear"),
        change=remove,
        killers=(f"{_UNIT}::test_what_was_not_sent_can_be_forgotten_and_is_read_again",),
    ),
    Mutant(
        name="page-out-of-order",
        guarantee="G14",
        breaks="A page that comes twice is delivered twice in one run.",
        where=function("Delivery._advance").condition(),
        change=constant(False),
        killers=(f"{_UNIT}::test_a_page_out_of_order_is_refused",),
    ),
    Mutant(
        name="taken-back-in-disorder",
        guarantee="G14",
        breaks="What a pause took back comes behind what was never sent.",
        where=function("Delivery.take_back").call("appendleft"),
        change=calls("append"),
        killers=(f"{_UNIT}::test_what_nobody_fetched_can_be_taken_back_and_is_sent_again",),
    ),
    Mutant(
        name="sent-in-a-pause",
        guarantee="G20",
        breaks="Batches go out after pause() returned.",
        where=function("Delivery.next_batch")
        .condition(mentioning="_paused")
        .part(mentioning="_paused"),
        change=remove,
        killers=(f"{_UNIT}::test_paused_it_sends_and_reads_nothing_and_counts_acks",),
    ),
    Mutant(
        name="rest-of-a-page-forgotten",
        guarantee="G23",
        breaks="What did not fit into one page is read with the next event only.",
        where=function("Delivery.end_read").assignment("_unread"),
        change=remove,
        killers=(f"{_UNIT}::test_a_failed_read_is_read_again_from_the_same_place",),
    ),
    Mutant(
        name="announced-while-reading",
        guarantee="G23",
        breaks="What is announced during a read is not looked for.",
        where=function("Delivery.announce").assigned("_unread", 1),
        change=replace("not self._reading"),
        killers=(f"{_UNIT}::test_only_an_empty_read_at_the_announced_head_ends_the_catch_up",),
    ),
    Mutant(
        name="sent-while-nobody-knows",
        guarantee="G19",
        breaks="An acknowledgement of the first batch is taken for one of what was never sent.",
        where=function("DeliveryLoop._send_batches").call("sent"),
        change=remove,
        killers=(f"{_ACKS}::test_each_acknowledgement_is_stored",),
    ),
    Mutant(
        name="ack-of-an-earlier-run",
        guarantee="G15",
        breaks="An acknowledgement from before a failure counts for what is delivered again.",
        where=function("DeliveryLoop.acknowledged")
        .condition(mentioning="number")
        .part(mentioning="number"),
        change=remove,
        killers=(
            f"{_LEASES}::test_a_fenced_subscription_starts_a_new_run_after_the_stored_checkpoint",
        ),
    ),
    Mutant(
        name="ack-without-proof",
        guarantee="G19",
        breaks="An event of another stream, subscription or run acknowledges by its position.",
        where=function("_proven").condition(),
        change=constant(False),
        killers=(
            f"{_FOREIGN}::test_an_event_of_another_stream_acknowledges_nothing",
            f"{_FOREIGN}::test_a_batch_from_before_a_reset_does_not_count_for_the_replay",
        ),
    ),
    Mutant(
        name="one-receipt-for-two-deliveries",
        guarantee="G19",
        breaks="An event that a mapper returns twice counts for what it was returned for last.",
        where=function("with_receipt").assignment("event"),
        change=remove,
        killers=(
            f"{_FOREIGN}::test_what_a_mapper_got_from_elsewhere_acknowledges_the_event_it_stands_for",
            f"{_FOREIGN}::test_a_mapper_may_return_what_another_subscription_delivers",
        ),
    ),
    Mutant(
        name="failed-and-not-redelivered",
        guarantee="G13",
        breaks="A batch whose handler raised does not come again.",
        where=function("DeliveryRuns._withdraw").call("redeliver"),
        change=remove,
        killers=(f"{_FAILURES}::test_nothing_is_handled_behind_a_batch_that_failed",),
    ),
    Mutant(
        name="failed-batch-as-large",
        guarantee="G13",
        breaks="A batch that failed comes again as it was: all of it has to succeed at once.",
        where=function("DeliveryLoop.handler_failed").call("failed"),
        change=remove,
        killers=(f"{_FAILING}::test_an_event_that_always_fails_is_alone_in_the_end",),
    ),
    Mutant(
        name="failed-batch-small-for-ever",
        guarantee="G22",
        breaks="After one failure every event is a batch, for as long as the process runs.",
        where=function("BatchSize.acknowledged").condition(mentioning="DELIVERIES"),
        change=constant(False),
        killers=(f"{_FAILING}::test_batches_grow_again_when_nothing_fails",),
    ),
    Mutant(
        name="handled-behind-a-failure",
        guarantee="G14",
        breaks="Batches behind one that failed are handled before it comes again.",
        where=function("FunctionSubscriber._handle_next").comparison(">"),
        change=constant(True),
        killers=(f"{_FAILURES}::test_nothing_is_handled_behind_a_batch_that_failed",),
    ),
    Mutant(
        name="anything-acknowledges",
        guarantee="G19",
        breaks="A handler that returns a coroutine nobody runs counts as done.",
        where=function("require_none").condition(),
        change=constant(True),
        killers=(f"{_FAILURES}::test_what_a_handler_returns_is_no_acknowledgement",),
    ),
    Mutant(
        name="batches-in-disorder",
        guarantee="G14",
        breaks="A function gets the newest batch first.",
        where=function("Mailbox.fetch").call("popleft"),
        change=calls("pop"),
        killers=(f"{_MAILBOX}::test_batches_are_fetched_in_the_order_in_which_they_were_put_in",),
    ),
    Mutant(
        name="taken-back-and-kept",
        guarantee="G20",
        breaks="A batch that a pause took back is begun all the same.",
        where=function("Mailbox.take_back").call("clear"),
        change=remove,
        killers=(f"{_MAILBOX}::test_what_was_not_fetched_can_be_taken_back",),
    ),
    Mutant(
        name="never-overdue",
        guarantee="G21",
        breaks="A subscriber that hangs keeps its events for ever.",
        where=function("Run.is_overdue").returned(),
        change=constant(False),
        killers=(
            f"{_ENDS}::test_an_actor_that_acknowledges_nothing_in_time_loses_the_subscription",
        ),
    ),
    Mutant(
        name="dead-subscriber-unseen",
        guarantee="G21",
        breaks="A subscriber that died keeps the subscription until something is sent to it.",
        where=function("DeliveryRuns.check_subscriber").condition(),
        change=constant(False),
        killers=(f"{_ENDS}::test_a_subscriber_that_dies_frees_the_subscription_at_once",),
    ),
    Mutant(
        name="attempts-without-end",
        guarantee="G30",
        breaks="A handler with a limited number of attempts is called for ever.",
        where=function("decide_alone").condition(),
        change=constant(False),
        killers=(f"{_FAILURES}::test_after_its_attempts_it_stops_and_says_why",),
    ),
    Mutant(
        name="attempts-of-many",
        guarantee="G30",
        breaks="To fail in company uses up the attempts of an event.",
        where=function("decide").condition(1),
        change=constant(False),
        killers=(f"{_FAILING}::test_attempts_are_of_an_event_that_is_alone",),
    ),
    Mutant(
        name="outage-uses-up-attempts",
        guarantee="G30",
        breaks="An event is given up because its target is away.",
        where=function("Retry.is_outage").returned(),
        change=constant(False),
        killers=(f"{_FAILING}::test_what_looks_like_an_outage_uses_up_no_attempt",),
    ),
    Mutant(
        name="skipped-with-its-batch",
        guarantee="G15",
        breaks="With one event of a batch, those after it are skipped.",
        where=function("DeliveryLoop.handler_failed").call("_do").part(mentioning="last_position"),
        change=replace("failed.last_position"),
        killers=(f"{_ANSWERS}::test_one_event_of_a_batch_is_skipped",),
    ),
    Mutant(
        name="refused-in-the-old-run",
        guarantee="G19",
        breaks="An actor is not told that what it has in flight comes again.",
        where=function("DeliveryRuns._new_run").call("begin"),
        change=constant(True),
        killers=(f"{_REFUSING}::test_a_refused_event_comes_again_with_all_after_it",),
    ),
    Mutant(
        name="refused-and-those-before-it-again",
        guarantee="G13",
        breaks="The events before a refused one count as failed with it.",
        where=function("DeliveryLoop.handler_failed").call("acknowledge").statement(),
        change=remove,
        killers=(f"{_REFUSING}::test_a_refused_event_comes_again_with_all_after_it",),
    ),
    Mutant(
        name="handled-behind-a-parked-one",
        guarantee="G38",
        breaks="Later events of a stream overtake a parked one.",
        where=function("Delivery.next_batch").condition(mentioning="held"),
        change=constant(False),
        killers=(f"{_PARKING}::test_later_events_of_its_stream_wait_behind_a_parked_one",),
    ),
    Mutant(
        name="followers-wait-for-who-gathers",
        guarantee="G38",
        breaks="What follows a parked event waits for an actor that waits for more events.",
        where=function("Delivery.held_up").condition(mentioning="lets_go"),
        change=replace("self._paused or not self._held or self._in_flight"),
        killers=(f"{_UNIT}::test_what_follows_a_parked_event_is_parked_when_it_is_let_go",),
    ),
    Mutant(
        name="followers-acknowledge-what-is-before",
        guarantee="G38",
        breaks="With what follows a parked event, everything in flight before it is acknowledged.",
        where=function("ParkedKeys.park_followers").assigned("checkpoint"),
        change=replace("events[-1].position"),
        killers=(f"{_GATHERING}::test_what_follows_a_parked_event_does_not_hold_up_the_rest",),
    ),
    Mutant(
        name="delivered-again-and-parked",
        guarantee="G38",
        breaks="What was delivered again stays parked.",
        where=function("ParkedKeys.remove_delivered").call("unpark"),
        change=replace("set(run.delivered)"),
        killers=(
            f"{_PARKING}::test_parked_events_are_delivered_again_in_the_order_of_their_stream",
        ),
    ),
    Mutant(
        name="delivered-again-without-end",
        guarantee="G38",
        breaks="A parked event that fails again holds up everything.",
        where=function("Replaying.park").call("keep").statement(),
        change=remove,
        killers=(f"{_PARKING}::test_what_fails_again_stays_parked_with_all_after_it",),
    ),
    Mutant(
        name="parked-for-the-next-owner-unseen",
        guarantee="G38",
        breaks="The next owner handles what waits behind a parked event.",
        where=function("Replaying.is_over").call("read").statement(),
        change=remove,
        killers=(f"{_PARKING}::test_the_next_owner_knows_what_is_parked",),
    ),
    Mutant(
        name="parked-unheard",
        guarantee="G38",
        breaks="If the answer to parking is lost, later events overtake the parked one.",
        where=function("ParkedKeys._park").assigned("is_known", 0),
        change=replace("was_known"),
        killers=(
            f"{_PARKING_UNHEARD}::test_an_event_that_is_parked_unheard_holds_up_what_follows_it",
        ),
    ),
    Mutant(
        name="parked-and-gone",
        guarantee="G38",
        breaks="A parked event that was deleted holds up its stream for ever.",
        where=function("Replaying.is_over").call("add").statement(),
        change=remove,
        killers=(
            f"{_REMOVED}::test_a_parked_event_that_is_gone_holds_up_its_stream_until_it_is_retried",
        ),
    ),
    Mutant(
        name="parked-and-lost-at-the-end",
        guarantee="G38",
        breaks="What no read finds of a stream is removed, whether it exists or not.",
        where=sql_function("unpark_events").where(mentioning="p_ended").where(mentioning="v_gone"),
        change=replace("false"),
        killers=(f"{_PARKED}::test_what_was_not_delivered_stays_parked_at_the_end",),
    ),
    Mutant(
        name="freed-before-it-is-on-the-disk",
        guarantee="G38",
        breaks="A stream goes on though a crash may bring its parked events back.",
        where=sql_function("unpark_events").condition(mentioning="v_left"),
        change=replace("true"),
        killers=(f"{_COMMITS}::test_the_removal_that_frees_a_key_is_on_the_disk",),
    ),
    Mutant(
        name="outage-parks-for-good",
        guarantee="G38",
        breaks="What was given up while the target was away is not delivered again.",
        where=function("Suspects.succeeded").assigned("again"),
        change=replace("()"),
        killers=(f"{_OUTAGES}::test_an_outage_that_does_not_look_like_one_parks_nothing_for_good",),
    ),
    Mutant(
        name="parked-without-the-fence",
        guarantee="G38",
        breaks="Who lost the subscription parks all the same.",
        where=sql_function("lock_owned_position").where().conjunct(mentioning="p_epoch"),
        change=replace("true"),
        killers=(f"{_PARKED}::test_who_does_not_own_it_parks_nothing",),
    ),
    Mutant(
        name="deaths-are-not-noted",
        guarantee="G38",
        breaks="The attempt of an event that kills is stored after it is handed out: never.",
        where=function("Caution._next_alone").assigned("is_noted"),
        change=constant(True),
        killers=(f"{_DEADLY}::test_an_event_that_kills_is_parked_after_its_attempts",),
    ),
    Mutant(
        name="noted-over-a-lost-transaction",
        guarantee="G39",
        breaks="An attempt is noted with a checkpoint after effects that the database lost.",
        where=sql_function("note_tries").where(mentioning="p_least").conjunct(mentioning="p_least"),
        change=replace("true"),
        killers=(f"{_OWNERSHIP}::test_who_knows_of_a_lost_transaction_notes_nothing",),
    ),
    Mutant(
        name="deaths-of-others",
        guarantee="G38",
        breaks="Two subscriptions of a process have an event alone, and one death counts for both.",
        where=function("Caution._take_turn").returned(mentioning="again_at"),
        change=constant(True),
        killers=(f"{_CAUTION}::test_one_event_of_a_process_is_alone_at_a_time",),
    ),
    Mutant(
        name="deaths-of-a-slow-actor",
        guarantee="G38",
        breaks="The attempt of an event is forgotten after a lease, though an actor still has it.",
        where=function("Caution.is_over").assigned("is_settled"),
        change=constant(True),
        killers=(f"{_CAUTION}::test_the_attempt_of_an_event_is_kept_while_an_actor_has_it",),
    ),
    Mutant(
        name="deaths-that-count-again",
        guarantee="G38",
        breaks="A parked event that is retried soon is parked again, and not delivered.",
        where=function("Caution._next_alone").assignment("_found").statement(),
        change=remove,
        killers=(f"{_CAUTION}::test_a_retry_of_an_event_that_killed_is_delivered",),
    ),
    Mutant(
        name="too-many-beyond-the-checkpoint",
        guarantee="G38",
        breaks="An event that kills is never among the first ones of the next owner.",
        where=function("Caution._next_of_many").condition(mentioning="_room"),
        change=constant(False),
        killers=(f"{_CAUTION}::test_after_the_first_events_an_attempt_is_noted_for_many",),
    ),
    Mutant(
        name="deaths-in-a-batch",
        guarantee="G38",
        breaks="After a process died, the events come in batches as before.",
        where=function("Caution._next_alone").assigned("batch"),
        change=replace("delivery.next_batch()"),
        killers=(f"{_DEADLY}::test_an_event_that_kills_is_parked_after_its_attempts",),
    ),
    Mutant(
        name="deaths-kept-by-a-stop",
        guarantee="G38",
        breaks="Attempts of an event add up over stops.",
        where=sql_function("free_positions").statement("UPDATE positions").assigned("tried"),
        change=replace("tried"),
        killers=(f"{_OWNERSHIP}::test_a_release_forgets_what_was_tried",),
    ),
    Mutant(
        name="two-batches-of-a-stream",
        guarantee="G38",
        breaks="An actor has the next batch of a stream when an event of it is parked.",
        where=function("KeysInFlight.holds").returned(),
        change=constant(False),
        killers=(f"{_PARKING}::test_an_actor_that_may_park_has_one_batch_of_a_stream",),
    ),
    Mutant(
        name="answer-about-what-is-acknowledged",
        guarantee="G15",
        breaks="A skip of an event that was acknowledged before counts as one.",
        where=function("Failures.of_batch").condition(mentioning="checkpoint"),
        change=constant(False),
        killers=(f"{_ANSWERS}::test_an_answer_about_an_acknowledged_event_is_a_failure",),
    ),
    Mutant(
        name="mapper-skips",
        guarantee="G15",
        breaks="An event whose mapper raised is skipped.",
        where=function("Steps.take").assignment("failure"),
        change=before("page.left_out = stored.position"),
        killers=(f"{_FAILURES}::test_a_mapper_that_recovers_skips_nothing",),
    ),
    Mutant(
        name="selected-by-its-truth",
        guarantee="G30",
        breaks="A selector that returns a coroutine lets every event through.",
        where=function("_checked_choice").condition(),
        change=constant(True),
        killers=(f"{_PREPARING}::test_only_a_bool_decides",),
    ),
    Mutant(
        name="page-of-an-earlier-run",
        guarantee="G14",
        breaks="What a selector let through before a failure is delivered after it.",
        where=function("Preparing.end").condition(mentioning="is_dropped"),
        change=constant(False),
        killers=(f"{_PREPARING}::test_a_page_of_an_earlier_run_is_dropped",),
    ),
    Mutant(
        name="hung-selector-never-overdue",
        guarantee="G21",
        breaks="A selector that hangs keeps the subscription for ever.",
        where=function("Preparing.overdue").condition(),
        change=constant(True),
        killers=(f"{_PREPARING}::test_what_never_returns_is_overdue_as_a_handler_is",),
    ),
    Mutant(
        name="filtered-event-stops",
        guarantee="G15",
        breaks="The checkpoint stays before events that the selector left out.",
        where=function("_pass_over").call("pass_over"),
        change=remove,
        killers=(f"{_SELECTING}::test_when_nothing_is_selected_the_checkpoint_moves_on",),
    ),
    Mutant(
        name="history-taken-on-trust",
        guarantee="G31",
        breaks="A subscription goes on where another history holds other events.",
        where=function("SubscriptionReader.read").condition(mentioning="_must_check_history"),
        change=constant(False),
        killers=(f"{_HISTORY}::test_a_takeover_after_lost_events_stops_everything",),
    ),
    Mutant(
        name="announced-and-not-found",
        guarantee="G23",
        breaks="An announced event that was not there yet is not looked for again.",
        where=function("DeliveryLoop.look_again").call("announce"),
        change=remove,
        killers=(f"{_SIBLINGS}::test_what_was_announced_and_not_found_is_looked_for_again",),
    ),
    Mutant(
        name="new-publisher-not-asked",
        guarantee="G23",
        breaks="What was announced while the publisher restarted is missed.",
        where=function("SubscriptionActor._child_restarted").call("announce"),
        change=remove,
        killers=(f"{_SIBLINGS}::test_a_new_publisher_is_asked_again_and_nothing_is_missed",),
    ),
    Mutant(
        name="stop-without-waiting",
        guarantee="G26",
        breaks="An end does not wait for what is in flight.",
        where=function("SubscriptionActor._end_if_done").condition(mentioning="_acks_are_due"),
        change=constant(True),
        killers=(f"{_ENDS}::test_a_stop_waits_for_what_is_in_flight_and_sends_nothing_more",),
    ),
    Mutant(
        name="checkpoint-not-held-back",
        guarantee="G15",
        breaks="Each acknowledgement is stored, whatever the threshold.",
        where=function("ProgressReporter._storable").returned(),
        change=replace("checkpoint"),
        killers=(
            f"{_CHECKPOINTS}::test_below_the_threshold_no_checkpoint_is_told",
            f"{_STORING}::test_the_checkpoint_is_stored_once_enough_events_are_acknowledged",
        ),
    ),
    Mutant(
        name="held-back-and-told-with-the-state",
        guarantee="G15",
        breaks="A change of the state stores what is held back.",
        where=function("ProgressReporter.show").call("_report").part(mentioning="checkpoint"),
        change=replace("delivery.checkpoint"),
        killers=(
            f"{_CHECKPOINTS}::test_a_failure_is_told_without_the_checkpoint_that_is_held_back",
        ),
    ),
    Mutant(
        name="held-back-without-an-alarm",
        guarantee="G15",
        breaks="What is held back is stored at the next message, however late.",
        where=function("DeliveryRuns.next_moment").assigned("moments").part(mentioning="due_at"),
        change=remove,
        killers=(f"{_CHECKPOINTS}::test_what_is_held_back_is_told_when_its_time_has_come",),
    ),
    Mutant(
        name="held-back-ever-longer",
        guarantee="G15",
        breaks="Each further acknowledgement postpones what is held back.",
        where=function("CheckpointPolicy.holds_back").condition(mentioning="due_at"),
        change=constant(True),
        killers=(f"{_CHECKPOINTS}::test_acknowledgements_that_follow_do_not_postpone_it",),
    ),
    Mutant(
        name="held-back-in-a-pause",
        guarantee="G20",
        breaks="What is acknowledged in a pause is stored when it ends.",
        where=function("ProgressReporter._storable")
        .assigned("held_back")
        .part(mentioning="paused"),
        change=remove,
        killers=(f"{_CHECKPOINTS}::test_a_pause_tells_everything_and_what_is_in_flight_follows",),
    ),
    Mutant(
        name="held-back-at-the-end",
        guarantee="G26",
        breaks="A subscription that ends in order stores what it reported last.",
        where=function("DeliveryRuns.last_progress").assigned("checkpoint"),
        change=replace("self._progress._reported.checkpoint"),
        killers=(
            f"{_CHECKPOINTS}::test_the_release_tells_everything",
            f"{_STORING}::test_a_standby_goes_on_after_everything_acknowledged",
        ),
    ),
    Mutant(
        name="two-limits-one-forgotten",
        guarantee="G15",
        breaks="A threshold is not heeded before the time has come.",
        where=function("CheckpointPolicy.holds_back")
        .returned(mentioning="_threshold")
        .part(mentioning="_threshold"),
        change=remove,
        killers=(f"{_POLICY}::test_of_two_limits_the_first_counts",),
    ),
)
