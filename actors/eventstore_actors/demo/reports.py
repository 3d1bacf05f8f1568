"""Reports of the subscriber's process to its parent, one line of JSON each."""

from __future__ import annotations

import contextlib
import sys

import msgspec

__all__ = ["Counted", "Report", "Started", "parse", "send"]


class Started(msgspec.Struct, frozen=True, tag=True):
    """The process owns the subscription, and a delivery run starts."""

    checkpoint: int
    """Position after which the store delivers."""
    position: int
    """Position up to which the saved board has counted; not below the checkpoint."""


class Counted(msgspec.Struct, frozen=True, tag=True):
    """A batch was counted and saved."""

    position: int
    again: int
    """Events of the batch that had been counted before."""


Report = Started | Counted

_decode = msgspec.json.Decoder(Report).decode


def send(report: Report) -> None:
    """Write *report* to standard output; a no-op if the reader is gone."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
        sys.stdout.flush()


def parse(line: bytes) -> Report:
    report: Report = _decode(line)
    return report
