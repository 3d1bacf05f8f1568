"""Figures of the Elixir original and of bare psycopg, measured on another idle machine.

A ratio to Elixir of a run here is (ours / bare of this run) x (bare there / Elixir there).
"""

from __future__ import annotations

__all__ = ["LIVE_MS", "PER_SECOND"]

PER_SECOND = {
    "append 1 x 1": (523, 1_929),
    "append 10 x 1": (1_003, 11_414),
    "append 100 x 1": (1_058, 32_100),
    "append 1 x 100": (9_809, 68_600),
    "append 10 x 100": (13_413, 108_600),
    "append 50 x 100": (14_940, 120_000),
    "read 100, 1 reader": (63_414, 360_000),
    # The limit is one loop, whatever the number of readers.
    "read 100, 100 readers": (117_620, 360_000),
    # Bare psycopg was not measured catching up there; its speed of reading stands in.
    "catch-up, default options": (2_076, 360_000),
    "catch-up, best options": (47_517, 360_000),
}
"""Events per second of commanded/eventstore 1.4.8 and of bare psycopg."""

LIVE_MS = (3.6, 0.5)
"""p50 from append to subscriber, and p50 of one commit by bare psycopg."""
