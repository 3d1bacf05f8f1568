"""Mutants of the writer's side: what shares a commit, what is tried again, what callers hear."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["WRITING"]

_PLAN = "actors/eventstore_actors/appending/commit_plan.py"

_JOB = "tests/actors/appending/test_attempt.py"
_PLANNING = "tests/actors/appending/test_commit_plan.py"
_QUEUE = "tests/actors/state/test_append_queue.py"
_SUPERVISOR = "tests/actors/supervising/test_supervisor.py"
_ALONE = "tests/actors/appending/test_appending_alone.py"
_WRITER = "tests/actors/appending/test_writer.py"

WRITING = (
    Mutant(
        name="overtaking",
        guarantee="G2",
        breaks="An append overtakes one that waits for the same stream.",
        file=_PLAN,
        before="        for part in append:\n            self._close(part.stream_id)\n",
        after="",
        killers=(f"{_PLANNING}::test_nothing_overtakes_what_waits_for_a_stream",),
    ),
    Mutant(
        name="same-id-in-one-commit",
        guarantee="G6",
        breaks="Two appends of the same event meet in one statement.",
        file=_PLAN,
        before="free = self._used.isdisjoint(ids)",
        after="free = True",
        killers=(f"{_PLANNING}::test_an_event_id_is_at_most_once_in_a_commit",),
    ),
    Mutant(
        name="same-stream-in-one-commit",
        guarantee="G2",
        breaks="Two appends to one stream meet in one statement.",
        file=_PLAN,
        before="return stream_id in self._closed or stream_id in self._mergeable",
        after="return stream_id in self._mergeable",
        killers=(f"{_PLANNING}::test_a_second_append_to_a_stream_waits_for_the_next_commit",),
    ),
    Mutant(
        name="exact-versions-merged",
        guarantee="G2",
        breaks="Of two appends that expect the same version both are stored.",
        file=_PLAN,
        before="        and append[0].expected_version == ExpectedVersion.ANY\n",
        after="",
        killers=(f"{_PLANNING}::test_a_second_append_to_a_stream_waits_for_the_next_commit",),
    ),
    Mutant(
        name="expired-and-sent",
        guarantee="G25",
        breaks="An append whose caller was told that it is not stored is sent.",
        file=_PLAN,
        before="            if request.deadline <= now:\n",
        after="            if False:\n",
        killers=(f"{_PLANNING}::test_what_nobody_waits_for_any_more_is_in_no_group",),
    ),
    Mutant(
        name="commit-of-any-size",
        guarantee="G7",
        breaks="Small appends wait for a commit of any size.",
        file=_PLAN,
        before="return size <= self._bytes_left and events <= self._events_left",
        after="return True",
        killers=(
            f"{_PLANNING}::test_a_commit_holds_no_more_bytes_than_allowed_and_smaller_ones_fill_it",
        ),
    ),
    Mutant(
        name="merged-result-for-all",
        guarantee="G3",
        breaks="Each of several merged appends is told the place of the first.",
        file=_PLAN,
        before="        version += count\n        position += count\n",
        after="",
        killers=(f"{_PLANNING}::test_a_merged_result_is_split_exactly",),
    ),
    Mutant(
        name="given-up-and-sent",
        guarantee="G25",
        breaks="An append that its caller gave up as not stored is sent.",
        file="actors/eventstore_actors/state/append_queue.py",
        before="            if self._stage is _Stage.GIVEN_UP:\n                return False\n",
        after="",
        killers=(f"{_QUEUE}::test_a_caller_that_gave_up_is_never_sent",),
    ),
    Mutant(
        name="sent-and-called-unsent",
        guarantee="G25",
        breaks="A caller is told that nothing was stored, though it may be.",
        file="actors/eventstore_actors/state/append_queue.py",
        before="                self._stage = _Stage.SENT\n",
        after="                pass\n",
        killers=(f"{_QUEUE}::test_what_was_sent_may_be_stored_and_counts_until_its_answer",),
    ),
    Mutant(
        name="queue-without-bound",
        guarantee="G22",
        breaks="Appends pile up in memory while the database is away.",
        file="actors/eventstore_actors/state/append_queue.py",
        before="            if self._appends >= self._max_appends:\n",
        after="            if False:\n",
        killers=(f"{_QUEUE}::test_more_appends_than_allowed_are_refused",),
    ),
    Mutant(
        name="doubt-forgotten",
        guarantee="G25",
        breaks="After a lost answer and a refused connection, nothing is said to be stored.",
        file="actors/eventstore_actors/appending/attempt.py",
        before="self.maybe_stored = self.maybe_stored or isinstance(error, OutcomeUnknownError)",
        after="self.maybe_stored = isinstance(error, OutcomeUnknownError)",
        killers=(f"{_WRITER}::test_at_the_deadline_it_may_be_stored",),
    ),
    Mutant(
        name="doubt-denied",
        guarantee="G25",
        breaks="A caller that gives up after a lost answer is told that nothing was stored.",
        file="actors/eventstore_actors/appending/attempt.py",
        before="        if not self.maybe_stored:\n            for request",
        after="        if True:\n            for request",
        killers=(
            f"{_JOB}::test_after_a_lost_answer_who_gives_up_is_never_told_that_it_is_unstored",
        ),
    ),
    Mutant(
        name="retries-with-new-ids",
        guarantee="G6",
        breaks="An append whose answer was lost is stored a second time.",
        file="actors/eventstore_actors/appending/writer.py",
        before="        appends = [item.append for item in job.group.items]\n",
        after="""        from dataclasses import replace
        from uuid import uuid4
        from msgspec.structs import replace as renewed
        appends = [
            tuple(
                replace(part, events=tuple(renewed(e, event_id=uuid4()) for e in part.events))
                for part in item.append
            )
            for item in job.group.items
        ]
""",
        killers=(f"{_WRITER}::test_a_lost_answer_is_found_by_the_same_ids",),
    ),
    Mutant(
        name="lost-answer-given-up",
        guarantee="G25",
        breaks="A lost answer is an error, though there is time to look what became of it.",
        file="actors/eventstore_actors/appending/writer.py",
        before="        except (OutcomeUnknownError, StorageUnavailableError) as error:\n",
        after="        except StorageUnavailableError as error:\n",
        killers=(f"{_WRITER}::test_a_lost_answer_is_found_by_the_same_ids",),
    ),
    Mutant(
        name="away-given-up",
        guarantee="G25",
        breaks="An append fails at once while the database is away.",
        file="actors/eventstore_actors/appending/writer.py",
        before="        except (OutcomeUnknownError, StorageUnavailableError) as error:\n",
        after="        except OutcomeUnknownError as error:\n",
        killers=(f"{_WRITER}::test_an_append_is_tried_again_while_the_database_is_away",),
    ),
    Mutant(
        name="refused-together",
        guarantee="G7",
        breaks="Appends that were merged are refused because of one of them.",
        file="actors/eventstore_actors/appending/writer.py",
        before="            elif len(item.requests) == 1:\n"
        "                item.requests[0].reply.answer(outcome)\n",
        after="            elif item.requests:\n"
        "                for request in item.requests:\n"
        "                    request.reply.answer(outcome)\n",
        killers=(f"{_WRITER}::test_a_refused_merged_item_is_decided_append_by_append",),
    ),
    Mutant(
        name="poison-for-all",
        guarantee="G7",
        breaks="An append that the database cannot take fails its whole commit.",
        file="actors/eventstore_actors/appending/writer.py",
        before="""        if len(requests) == 1:
            job.refuse(error)
        else:""",
        after="""        if requests:
            for lone in job.alone(requests):
                lone.refuse(error)
        else:""",
        killers=(f"{_WRITER}::test_a_poisonous_append_fails_alone",),
    ),
    Mutant(
        name="stored-in-silence",
        guarantee="G23",
        breaks="What the writer stored gets into the memory by the listener only.",
        file="actors/eventstore_actors/appending/writer.py",
        before="        if stored:\n",
        after="        if False:\n",
        killers=(f"{_WRITER}::test_what_was_stored_is_announced_as_it_would_be_read",),
    ),
    Mutant(
        name="repetition-announced",
        guarantee="G14",
        breaks="Old events get into the memory of the newest.",
        file="actors/eventstore_actors/appending/writer.py",
        before="                if watched and not outcome.repeated:\n",
        after="                if watched:\n",
        killers=(f"{_WRITER}::test_a_repeated_append_and_a_refused_one_are_not_announced",),
    ),
    Mutant(
        name="crash-called-unsent",
        guarantee="G24",
        breaks="When the writer crashes in an attempt, callers are told that nothing was stored.",
        file="actors/eventstore_actors/appending/writer.py",
        before="job.give_up(error, was_sent=error is not None and place == 0)",
        after="job.give_up(error, was_sent=False)",
        killers=(f"{_WRITER}::test_a_crash_says_which_appends_may_be_stored",),
    ),
    Mutant(
        name="queue-without-answer",
        guarantee="G26",
        breaks="Appends that wait when the writer ends are never answered.",
        file="actors/eventstore_actors/appending/writer.py",
        before="            request.reply.answer(unsent(error))\n",
        after="            pass\n",
        killers=(f"{_WRITER}::test_a_crash_answers_what_waited_behind_what_was_sent",),
    ),
    Mutant(
        name="stopped-without-appending",
        guarantee="G26",
        breaks="Accepted appends are refused when the store is closed.",
        file="actors/eventstore_actors/appending/writer.py",
        before="            self._flush_soon()\n        elif self._stop_at is not None:\n",
        after="            self._flush_soon()\n        if self._stop_at is not None:\n",
        killers=(f"{_WRITER}::test_stopping_stores_what_was_accepted",),
    ),
    Mutant(
        name="deadline-of-the-connection",
        guarantee="G25",
        breaks="A connection that is dead costs an append its whole deadline.",
        file="actors/eventstore_actors/appending/attempt.py",
        before="return now + min(left - min(0.1, left / 4), patience)",
        after="return now + left - min(0.1, left / 4)",
        killers=(f"{_WRITER}::test_a_dead_connection_does_not_cost_the_whole_deadline",),
    ),
    Mutant(
        name="crash-of-the-writer-passed-on",
        guarantee="G24",
        breaks="An append fails with the writer, though another one comes at once.",
        file="actors/eventstore_actors/appending/caller.py",
        before="if not self._has_crashed(writer) or not _pause_until(deadline):",
        after="if True:",
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
        file="actors/eventstore_actors/appending/caller.py",
        before="            maybe_stored = error\n        else:\n",
        after="            pass\n        else:\n",
        killers=(f"{_ALONE}::test_what_may_be_stored_is_in_doubt_though_the_writer_never_sent_it",),
    ),
    Mutant(
        name="close-under-a-lonely-caller",
        guarantee="G26",
        breaks="Closing cuts off the append that its caller sends.",
        file="actors/eventstore_actors/appending/writer.py",
        before="self._shared.turn.withdraw((self._stop_at or 0.0) - time.monotonic())",
        after="self._shared.turn.withdraw(0.0)",
        killers=(f"{_ALONE}::test_closing_waits_for_it",),
    ),
)
