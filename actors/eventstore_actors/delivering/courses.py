"""Decides what becomes of events that user code failed with. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from eventstore.model.answers import Answer, Verdict
from eventstore.model.retry import GiveUp, Retry

__all__ = ["Course", "Decision", "Tries", "decide", "decide_alone", "decide_dead"]


class Course(Enum):
    """What to do next."""

    AGAIN = "again"
    SKIP = "skip"
    PARK = "park"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Tries:
    """Failures in a row of the oldest event, when it was alone."""

    used: int = 0
    """Attempts used up."""
    in_a_row: int = 0
    """All of them, those too that looked like an outage."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about a failure."""

    course: Course
    tries: Tries
    delay: float = 0.0
    """Seconds until the events are delivered again."""
    shrinks: bool = False
    """Whether the next batch is half as large."""
    used_up: bool = False
    """The course follows from the number of attempts, and from nothing that the handler said."""


_GIVEN_UP = {GiveUp.STOP: Course.STOP, GiveUp.PARK: Course.PARK, GiveUp.SKIP: Course.SKIP}


def decide(answer: Answer, events: int, before: Tries, retry: Retry, *, outage: bool) -> Decision:
    """Decide about a batch.

    Args:
        answer: What its handler said.
        events: How many of its events are not acknowledged.
        before: The tries of the oldest of them so far.
        retry: How often to try.
        outage: Whether the error says nothing about the events.
    """
    match answer.verdict:
        case Verdict.STOP:
            return Decision(Course.STOP, before)
        case Verdict.AGAIN:
            return Decision(Course.AGAIN, before, answer.seconds)
        case Verdict.SKIP | Verdict.PARK:
            if events == 1 or answer.position is not None:
                course = Course.SKIP if answer.verdict is Verdict.SKIP else Course.PARK
                return Decision(course, before)
            return Decision(Course.AGAIN, before, shrinks=True)
        case Verdict.FAILED:
            if events != 1:
                return Decision(Course.AGAIN, before, retry.delay(1), shrinks=True)
            return decide_alone(before, retry, outage=outage)


def decide_alone(before: Tries, retry: Retry, *, outage: bool) -> Decision:
    """Decide about one event that failed alone."""
    tries = Tries(before.used + (not outage), before.in_a_row + 1)
    if not outage and retry.limit is not None and tries.used >= retry.limit:
        return Decision(_GIVEN_UP[GiveUp(retry.then)], tries, used_up=True)
    return Decision(Course.AGAIN, tries, retry.delay(tries.in_a_row))


def decide_dead(times: int, retry: Retry) -> Decision:
    """Decide about one event that was alone when its process died, *times* in a row."""
    tries = Tries(times, times)
    if retry.limit is not None and times >= retry.limit:
        return Decision(_GIVEN_UP[GiveUp(retry.then)], tries, used_up=True)
    return Decision(Course.AGAIN, tries)
