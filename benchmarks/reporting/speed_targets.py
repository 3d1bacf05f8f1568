"""Performance targets as data, and what a run reached of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.reporting.elixir import LIVE_MS, PER_SECOND
from benchmarks.reporting.figure_table import number
from benchmarks.reporting.results import Result, Results

__all__ = ["NOT_MEASURED", "TARGETS", "Target", "compared"]

NOT_MEASURED = "not measured"

Reached = Callable[[Results], float | None]
"""Returns the figure that a run reached; None if it did not measure it."""


@dataclass(frozen=True, slots=True)
class Target:
    """One target."""

    what: str
    against: str
    bound: float
    reached: Reached
    unit: str = "x"
    at_most: bool = False
    """Whether the bound is a maximum; else it is a minimum."""
    directly: Reached | None = None
    """The same figure without the detour through the limit, if *reached* takes it."""

    def met(self, figure: float | None) -> bool:
        if figure is None:
            return False
        return figure <= self.bound if self.at_most else figure >= self.bound

    @property
    def wanted(self) -> str:
        return f"{'<=' if self.at_most else '>='} {number(self.bound)} {self.unit}"


def compared(results: Results) -> Iterator[tuple[Target, str, bool]]:
    """Yield each target, the reached figure as text, and whether the target is met."""
    for target in TARGETS:
        figure = target.reached(results)
        yield target, _in_words(target, figure, results), target.met(figure)


def _in_words(target: Target, figure: float | None, results: Results) -> str:
    if figure is None:
        return NOT_MEASURED
    directly = None if target.directly is None else target.directly(results)
    beside = "" if directly is None else f" ({number(directly)})"
    return f"{number(figure)} {target.unit}{beside}"


# ── finding figures ─────────────────────────────────────────────────────────────────────────────


def _matching(results: Results, group: str, name: str) -> list[Result]:
    return [one for one in results.of_group(group) if re.fullmatch(name, one.name)]


def _times(
    group: str, name: str, to: str, *others: str, factor: float = 1.0, who: str = "ours"
) -> Reached:
    """Return how many times better *who* is than *to* in the first workload matching *name*.

    Args:
        group: Of the workloads.
        name: A pattern.
        to: The other contender.
        others: Patterns of further workloads in which the other may do the same job its own way
            (in processes instead of threads); its best figure counts.
        factor: What the ratio is multiplied with.
        who: One of our contenders.
    """

    def reached(results: Results) -> float | None:
        for result in _matching(results, group, name):
            ratios = [result.ratio(who, to)]
            for other in others:
                ratios += [
                    _ratio_across(result, further, who, to)
                    for further in _matching(results, group, other)
                ]
            known = [ratio for ratio in ratios if ratio is not None]
            if known:
                return factor * min(known)
        return None

    return reached


def _ratio_across(one: Result, other: Result, who: str, to: str) -> float | None:
    if who not in one.figures or to not in other.figures:
        return None
    return one.figures[who].median / other.figures[to].median


def _directly(group: str, name: str, elixir: float) -> Reached:
    """Return our best figure in the workloads matching *name*, as a multiple of *elixir*."""

    def reached(results: Results) -> float | None:
        ours = [one.figures.get("ours") for one in _matching(results, group, name)]
        return max((one.median / elixir for one in ours if one is not None), default=None)

    return reached


def _best_times(group: str, name: str, to: str, *, factor: float) -> Reached:
    """Return the best ratio of ours to *to* in the workloads matching *name*."""

    def reached(results: Results) -> float | None:
        matching = _matching(results, group, name)
        ratios = [result.ratio("ours", to) for result in matching]
        known = [factor * ratio for ratio in ratios if ratio is not None]
        return max(known, default=None)

    return reached


def _worst(group: str, name: str) -> Reached:
    """Return our largest value in the workloads matching *name*."""

    def reached(results: Results) -> float | None:
        ours = [one.figures.get("ours") for one in _matching(results, group, name)]
        return max((figure.median for figure in ours if figure is not None), default=None)

    return reached


def _times_the_selector(name: str) -> Reached:
    """Return how many times faster the filter in the workload matching *name* is."""

    def reached(results: Results) -> float | None:
        for filtered in _matching(results, "handling", name):
            for selected in _matching(results, "handling", ".* by a selector: .*"):
                return filtered.figures["ours"].median / selected.figures["ours"].median
        return None

    return reached


def _live_to_elixir(results: Results) -> float | None:
    """Return how many times shorter our latency is than Elixir's, relative to a bare commit."""
    elixir, bare = LIVE_MS
    for live in _matching(results, "live", "100 appends/s, 1 x actor"):
        for commit in _matching(results, "append", "1 x 1"):
            if "ours" in live.figures and "bare" in commit.figures:
                alone = commit.figures["bare"].latency_ms["p50"]
                return alone / live.figures["ours"].median * (elixir / bare)
    return None


def _live_directly(results: Results) -> float | None:
    for live in _matching(results, "live", "100 appends/s, 1 x actor"):
        if "ours" in live.figures:
            return LIVE_MS[0] / live.figures["ours"].median
    return None


def _way_to_subscriber(results: Results) -> float | None:
    """Return how much later than the answer, in ms, half of the events reach their subscriber."""
    for heard in _matching(results, "live", "100 appends/s, 1 x actor"):
        for answered in _matching(results, "live", "100 appends/s, answer alone"):
            if "ours" in heard.figures and "ours" in answered.figures:
                return heard.figures["ours"].median - answered.figures["ours"].median
    return None


def _median(group: str, name: str, who: str) -> Reached:
    """Return the median of *who* in the first workload matching *name*."""

    def reached(results: Results) -> float | None:
        found = [one.figures.get(who) for one in _matching(results, group, name)]
        return next((figure.median for figure in found if figure is not None), None)

    return reached


# ── the figures ──────────────────────────────────────────────────────────────────────────────────

_CATCH_UP = r"[\d,]+ events, 1 at once"
_IN_A_ROW = rf"{_CATCH_UP} \[100 per stream\]"
_BEST = rf"{_CATCH_UP}.*\[100 per stream\]"
_FEW_EACH = "(4 processes of 2|1 processes of 10) x 1"
_TEN = r"10 writers, (10|2) x actor"


def _to_elixir_by_bare(
    what: str, bound: float, group: str, name: str, *, best: bool = False
) -> Target:
    """Return a target for (ours / bare here) x (bare / Elixir there)."""
    elixir, bare = PER_SECOND[what]
    times = _best_times if best else _times
    return Target(
        what,
        "Elixir",
        bound,
        times(group, name, "bare", factor=bare / elixir),
        directly=_directly(group, name, elixir),
    )


def _append_to(against: str, name: str, bound: float, *others: str) -> Target:
    return Target(f"append {name}", against, bound, _times("append", name, against, *others))


def _in_loop_to(against: str, name: str, bound: float) -> Target:
    times = _times("append", name, against, who="asyncio")
    return Target(f"asyncio append {name}", against, bound, times)


def _growth(where: str, name: str) -> Target:
    worst = _worst("growth", name)
    return Target(f"cost in {where}", "a small one", 1.2, worst, at_most=True)


TARGETS = (
    _to_elixir_by_bare("append 1 x 1", 3.2, "append", "1 x 1"),
    _to_elixir_by_bare("append 100 x 1", 15, "append", "100 x 1"),
    _to_elixir_by_bare("append 1 x 100", 5, "append", "1 x 100"),
    _to_elixir_by_bare("append 50 x 100", 6, "append", "50 x 100"),
    _to_elixir_by_bare("read 100, 1 reader", 5, "read", "stream of 100, 1 reader"),
    _to_elixir_by_bare("read 100, 100 readers", 2.5, "read", "stream of 100, 100 readers"),
    _to_elixir_by_bare("catch-up, default options", 80, "subscribe", _IN_A_ROW),
    _to_elixir_by_bare("catch-up, best options", 3.5, "subscribe", _BEST, best=True),
    Target("live latency p50", "Elixir", 4, _live_to_elixir, directly=_live_directly),
    *(_append_to("bare", f"{callers} x 100", 0.8) for callers in (10, 50)),
    _append_to("bare", "1 x 100", 0.85),
    _append_to("bare", "100 x 1", 0.45),
    Target("append 4 processes of 2 x 1", "bare", 0.9, _times("append", _FEW_EACH, "bare")),
    Target("append_many", "bare", 0.8, _times("append", "a series of .*", "bare")),
    _in_loop_to("ours", "100 x 1", 1.8),
    *(_in_loop_to("ours", name, 0.85) for name in ("1 x 1", "1 x 100")),
    _in_loop_to("umadb", "100 x 1", 2),
    _in_loop_to("umadb", "10 x 1", 1.1),
    Target("read 1,000 events", "bare", 0.8, _times("read", "stream of 1,?000, 1 reader", "bare")),
    Target("catch-up, ack per batch", "bare", 0.8, _times("subscribe", _IN_A_ROW, "bare")),
    *(_append_to("umadb", name, 1) for name in ("1 x 1", "100 x 1")),
    _append_to("umadb", "10 x 1", 0.9),
    _append_to("umadb", "10 x 100", 1 / 2.5),
    Target("live latency p50", "umadb", 1, _times("live", "100 appends/s, 1 x actor", "umadb")),
    Target("live, 10 writers, 10 actors", "umadb", 1, _times("live", _TEN, "umadb")),
    Target(
        "live p50, later than the answer", "itself", 0.15, _way_to_subscriber, "ms", at_most=True
    ),
    Target(
        "live p50, 500 coroutines",
        "itself",
        50,
        _median("live", r"100 appends/s, (500|4) x actor", "asyncio"),
        unit="ms",
        at_most=True,
    ),
    Target(
        "catch-up by a coroutine",
        "ours",
        0.9,
        _times("subscribe", _IN_A_ROW, "ours", who="asyncio"),
    ),
    Target("transactional function", "bare", 0.7, _times("handling", "transactional .*", "bare")),
    Target("projection", "bare", 0.7, _times("handling", "projection, .*", "bare")),
    *(
        Target(f"filter {way}", "a selector", least, _times_the_selector(f".* {way}: .*"))
        for way, least in (("by type", 10), ("by metadata", 2))
    ),
    _append_to("eventsourcing", "1 x 1", 1.4),
    _append_to("eventsourcing", "100 x 1", 12, "4 processes of 25 x 1"),
    _append_to("eventsourcing", "1 x 100", 2.5),
    _append_to("eventsourcing", "10 x 100", 3, "4 processes of 2 x 100"),
    _growth("a large store", r".*, [\d,]+ events"),
    _growth("a million streams", ".* streams"),
    _growth("an old snapshot", "(?!checkpoint).*snapshot.*"),
    Target(
        "checkpoint in an old snapshot",
        "a small store",
        1.5,
        _worst("growth", "checkpoint.*snapshot.*"),
        at_most=True,
    ),
    Target("slow subscriber", "itself", 150, _worst("memory", ".*"), unit="MB", at_most=True),
    Target("500 idle subscriptions", "itself", 5, _worst("idle", ".*"), unit="%", at_most=True),
)
