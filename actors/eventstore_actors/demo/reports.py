"""What the subscriber's process tells the process that started it: one line of JSON each."""

from __future__ import annotations

import contextlib
import sys

import msgspec

__all__ = ["Counted", "Report", "Started", "parse", "send"]


class Started(msgspec.Struct, frozen=True, tag=True):
    """A delivery run starts: the subscription is ours."""

    checkpoint: int
    """Where the store goes on."""
    position: int
    """What the saved board has counted already; the checkpoint may be behind it."""


class Counted(msgspec.Struct, frozen=True, tag=True):
    """A batch was counted and saved."""

    position: int
    again: int
    """Events of the batch that had been counted before."""


Report = Started | Counted

_decode = msgspec.json.Decoder(Report).decode


def send(report: Report) -> None:
    """Write *report* to standard output, if anybody still listens there."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
        sys.stdout.flush()


def parse(line: bytes) -> Report:
    report: Report = _decode(line)
    return report
