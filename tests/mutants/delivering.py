"""Mutants of delivery: order, skipping, limits, redelivery, acknowledgements."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import attribute, before, calls, constant, once, remove, replace
from tests.mutants.places.python_place import function

__all__ = ["DELIVERING"]

_ACKS = "tests/conformance/subscriptions/test_acknowledging.py"
_ENDS = "tests/actors/delivering/test_subscription_ends.py"
_FAILING = "tests/conformance/subscriptions/test_failing_batches.py"
_FOREIGN = "tests/conformance/subscriptions/test_foreign_acks.py"
_FAILURES = "tests/actors/delivering/test_subscription_failures.py"
_MAILBOX = "tests/actors/delivering/test_mailbox.py"
_PREPARING = "tests/actors/delivering/test_subscription_preparing.py"
_SIBLINGS = "tests/actors/delivering/test_subscription_siblings.py"
_UNIT = "tests/actors/delivering/test_delivery.py"
_LEASES = "tests/actors/delivering/test_subscription_leases.py"
_SELECTING = "tests/conformance/subscriptions/test_selecting.py"
_HISTORY = "tests/actors/delivering/test_subscription_history.py"

DELIVERING = (
    Mutant(
        name="ack-of-one-event",
        guarantee="G19",
        breaks="An acknowledgement counts for the oldest event alone.",
        where=function("_ParcelQueue.drop_up_to").condition().statement(),
        change=once,
        killers=(f"{_UNIT}::test_acknowledging_is_cumulative",),
    ),
    Mutant(
        name="ack-of-one-event-more",
        guarantee="G15",
        breaks="An acknowledgement counts for the event after it, too.",
        where=function("_ParcelQueue.drop_up_to").condition().reference("position", 0),
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
        where=function("Delivery.next_batch").condition(mentioning="stream_id"),
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
        where=function("DeliveryLoop._send").call("sent"),
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
        where=function("DeliveryLoop.handler_failed").call("redeliver"),
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
        where=function("DeliveryLoop.check_subscriber").condition(),
        change=constant(False),
        killers=(f"{_ENDS}::test_a_subscriber_that_dies_frees_the_subscription_at_once",),
    ),
    Mutant(
        name="attempts-without-end",
        guarantee="G30",
        breaks="A handler with a limited number of attempts is called for ever.",
        where=function("DeliveryLoop._failed").condition(),
        change=constant(False),
        killers=(f"{_FAILURES}::test_after_its_attempts_it_stops_and_says_why",),
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
)
