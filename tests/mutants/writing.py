"""Mutants of the writer's side: what shares a commit, what is tried again, what callers hear."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import after, constant, remove, replace
from tests.mutants.places.python_place import function

__all__ = ["WRITING"]

_JOB = "tests/actors/appending/test_attempt.py"
_PLANNING = "tests/actors/appending/test_commit_plan.py"
_QUEUE = "tests/actors/state/test_append_queue.py"
_SUPERVISOR = "tests/actors/supervising/test_supervisor.py"
_ALONE = "tests/actors/appending/test_appending_alone.py"
_WRITER = "tests/actors/appending/test_writer.py"
_SERIES = "tests/eventstore/client/test_series.py"

_WITH_NEW_IDS = """
from uuid import uuid4
from msgspec.structs import replace
{}
appends = [
    tuple(
        replace(part, events=tuple(replace(e, event_id=uuid4()) for e in part.events))
        for part in append
    )
    for append in appends
]
"""

_REFUSED_TOGETHER = """
for request in item.requests:
    request.reply.answer(outcome)
"""

_END_AT_ONCE = """
if self._stop_at is not None:
    self.finish()
"""

_REFUSED_FOR_ALL = """
for lone in job.one_each(requests):
    lone.refuse(error)
"""

WRITING = (
    Mutant(
        name="overtaking",
        guarantee="G2",
        breaks="An append overtakes one that waits for the same stream.",
        where=function("_Draft.take").call("_close").statement(),
        change=remove,
        killers=(f"{_PLANNING}::test_nothing_overtakes_what_waits_for_a_stream",),
    ),
    Mutant(
        name="same-id-in-one-commit",
        guarantee="G6",
        breaks="Two appends of the same event meet in one statement.",
        where=function("_Draft.take").assigned("free"),
        change=constant(True),
        killers=(f"{_PLANNING}::test_an_event_id_is_at_most_once_in_a_commit",),
    ),
    Mutant(
        name="same-stream-in-one-commit",
        guarantee="G2",
        breaks="Two appends to one stream meet in one statement.",
        where=function("_Draft._is_taken").boolean("or").part(mentioning="_closed"),
        change=remove,
        killers=(f"{_PLANNING}::test_a_second_append_to_a_stream_waits_for_the_next_commit",),
    ),
    Mutant(
        name="exact-versions-merged",
        guarantee="G2",
        breaks="Of two appends that expect the same version both are stored.",
        where=function("_is_mergeable").comparison(mentioning="expected_version"),
        change=remove,
        killers=(f"{_PLANNING}::test_a_second_append_to_a_stream_waits_for_the_next_commit",),
    ),
    Mutant(
        name="expired-and-sent",
        guarantee="G25",
        breaks="An append whose caller was told that it is not stored is sent.",
        where=function("CommitPlan._draft").condition(mentioning="deadline"),
        change=constant(False),
        killers=(f"{_PLANNING}::test_what_nobody_waits_for_any_more_is_in_no_group",),
    ),
    Mutant(
        name="commit-of-any-size",
        guarantee="G7",
        breaks="Small appends wait for a commit of any size.",
        where=function("_Draft._fits").returned(mentioning="_bytes_left"),
        change=constant(True),
        killers=(
            f"{_PLANNING}::test_a_commit_holds_no_more_bytes_than_allowed_and_smaller_ones_fill_it",
        ),
    ),
    Mutant(
        name="merged-result-for-all",
        guarantee="G3",
        breaks="Each of several merged appends is told the place of the first.",
        where=function("split").call("placed").part(1),
        change=replace("whole.first_version"),
        killers=(f"{_PLANNING}::test_a_merged_result_is_split_exactly",),
    ),
    Mutant(
        name="given-up-and-sent",
        guarantee="G25",
        breaks="An append that its caller gave up as not stored is sent.",
        where=function("AppendReply.begin_sending").condition(mentioning="GIVEN_UP"),
        change=constant(False),
        killers=(f"{_QUEUE}::test_a_caller_that_gave_up_is_never_sent",),
    ),
    Mutant(
        name="sent-and-called-unsent",
        guarantee="G25",
        breaks="A caller is told that nothing was stored, though it may be.",
        where=function("AppendReply.begin_sending").assignment("_stage"),
        change=remove,
        killers=(f"{_QUEUE}::test_what_was_sent_may_be_stored_and_counts_until_its_answer",),
    ),
    Mutant(
        name="queue-without-bound",
        guarantee="G22",
        breaks="Appends pile up in memory while the database is away.",
        where=function("QueueLimit._count").condition(mentioning="_max_appends"),
        change=constant(False),
        killers=(f"{_QUEUE}::test_more_appends_than_allowed_are_refused",),
    ),
    Mutant(
        name="doubt-forgotten",
        guarantee="G25",
        breaks="After a lost answer and a refused connection, nothing is said to be stored.",
        where=function("Job.failed").assigned("maybe_stored").part(mentioning="maybe_stored"),
        change=remove,
        killers=(f"{_WRITER}::test_at_the_deadline_it_may_be_stored",),
    ),
    Mutant(
        name="doubt-denied",
        guarantee="G25",
        breaks="A caller that gives up after a lost answer is told that nothing was stored.",
        where=function("Job.wait_again").condition(),
        change=constant(True),
        killers=(
            f"{_JOB}::test_after_a_lost_answer_who_gives_up_is_never_told_that_it_is_unstored",
        ),
    ),
    Mutant(
        name="retries-with-new-ids",
        guarantee="G6",
        breaks="An append whose answer was lost is stored a second time.",
        where=function("Writer._attempt").assignment("appends"),
        change=replace(_WITH_NEW_IDS),
        killers=(f"{_WRITER}::test_a_lost_answer_is_found_by_the_same_ids",),
    ),
    Mutant(
        name="lost-answer-given-up",
        guarantee="G25",
        breaks="A lost answer is an error, though there is time to look what became of it.",
        where=function("Writer._attempt").caught(0).part(mentioning="OutcomeUnknownError"),
        change=remove,
        killers=(f"{_WRITER}::test_a_lost_answer_is_found_by_the_same_ids",),
    ),
    Mutant(
        name="away-given-up",
        guarantee="G25",
        breaks="An append fails at once while the database is away.",
        where=function("Writer._attempt").caught(0).part(mentioning="StorageUnavailableError"),
        change=remove,
        killers=(f"{_WRITER}::test_an_append_is_tried_again_while_the_database_is_away",),
    ),
    Mutant(
        name="refused-together",
        guarantee="G7",
        breaks="Appends that were merged are refused because of one of them.",
        where=function("Writer._settle").condition(mentioning="len").statement(),
        change=replace(_REFUSED_TOGETHER),
        killers=(f"{_WRITER}::test_a_refused_merged_item_is_decided_append_by_append",),
    ),
    Mutant(
        name="poison-for-all",
        guarantee="G7",
        breaks="An append that the database cannot take fails its whole commit.",
        where=function("Writer._refused").condition().statement(),
        change=replace(_REFUSED_FOR_ALL),
        killers=(f"{_WRITER}::test_a_poisonous_append_fails_alone",),
    ),
    Mutant(
        name="stored-in-silence",
        guarantee="G23",
        breaks="What the writer stored gets into the memory by the listener only.",
        where=function("Writer._settle").condition(mentioning="stored"),
        change=constant(False),
        killers=(f"{_WRITER}::test_what_was_stored_is_announced_as_it_would_be_read",),
    ),
    Mutant(
        name="repetition-announced",
        guarantee="G14",
        breaks="Old events get into the memory of the newest.",
        where=function("Writer._settle")
        .boolean("and", mentioning="watched")
        .part(mentioning="repeated"),
        change=remove,
        killers=(f"{_WRITER}::test_a_repeated_append_and_a_refused_one_are_not_announced",),
    ),
    Mutant(
        name="crash-called-unsent",
        guarantee="G24",
        breaks="When the writer crashes in an attempt, callers are told that nothing was stored.",
        where=function("Writer._attempt").assignment("under_way"),
        change=remove,
        killers=(f"{_WRITER}::test_a_crash_says_which_appends_may_be_stored",),
    ),
    Mutant(
        name="queue-without-answer",
        guarantee="G26",
        breaks="Appends that wait when the writer ends are never answered.",
        where=function("Writer.teardown").call("answer"),
        change=remove,
        killers=(f"{_WRITER}::test_a_crash_answers_what_waited_behind_what_was_sent",),
    ),
    Mutant(
        name="stopped-without-appending",
        guarantee="G26",
        breaks="Accepted appends are refused when the store is closed.",
        where=function("Writer._go_on").call("_flush_soon").statement(),
        change=after(_END_AT_ONCE),
        killers=(f"{_WRITER}::test_stopping_stores_what_was_accepted",),
    ),
    Mutant(
        name="deadline-of-the-connection",
        guarantee="G25",
        breaks="A connection that is dead costs an append its whole deadline.",
        where=function("attempt_deadline").returned().call("min", 0).part(1),
        change=replace("left"),
        killers=(f"{_WRITER}::test_a_dead_connection_does_not_cost_the_whole_deadline",),
    ),
    Mutant(
        name="crash-of-the-writer-passed-on",
        guarantee="G24",
        breaks="An append fails with the writer, though another one comes at once.",
        where=function("CallerAppender._go_on").condition(mentioning="_has_crashed"),
        change=constant(True),
        killers=(
            (
                f"{_SUPERVISOR}"
                "::test_a_crashed_writer_answers_every_caller_and_the_next_one_takes_new_appends"
            ),
        ),
    ),
    Mutant(
        name="doubt-of-a-lonely-caller",
        guarantee="G25",
        breaks="An append that its caller sent, and that may be stored, is called unwritten.",
        where=function("CallerAppender._go_on").assignment("maybe_stored"),
        change=remove,
        killers=(f"{_ALONE}::test_what_may_be_stored_is_in_doubt_though_the_writer_never_sent_it",),
    ),
    Mutant(
        name="close-under-a-lonely-caller",
        guarantee="G26",
        breaks="Closing cuts off the append that its caller sends.",
        where=function("Writer.teardown").call("withdraw").part(),
        change=constant(0.0),
        killers=(f"{_ALONE}::test_closing_waits_for_it",),
    ),
    Mutant(
        name="second-run-before-the-first-is-stored",
        guarantee="G3",
        breaks="A series is stored in another order, if its first run has to be sent again.",
        where=function("append_runs").call("settle", 0).statement(),
        change=remove,
        killers=(f"{_SERIES}::test_one_run_is_under_way_at_a_time",),
    ),
    Mutant(
        name="run-that-nobody-sends",
        guarantee="G25",
        breaks="A series waits for ever for an append that failed before it was sent.",
        where=function("_Sending.send").call("add_done_callback").statement(),
        change=remove,
        killers=(f"{_SERIES}::test_what_ends_without_being_sent_keeps_nobody_waiting",),
    ),
)
