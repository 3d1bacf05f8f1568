"""The commit plan: what shares a commit, what has to wait, and what nobody waits for any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

from hypothesis import example, given
from hypothesis import strategies as st

from eventstore.model.events import AppendResult, ExpectedVersion
from eventstore.ports.stored_events import Committed, EncodedEvent, StreamAppend
from eventstore.ports.waits import BLOCKING
from eventstore_actors.appending.commit_plan import (
    CommitPlan,
    Group,
    Item,
    one_by_one,
    split,
)
from eventstore_actors.state.append_queue import AppendRequest, QueueLimit

ANY = int(ExpectedVersion.ANY)
MAX_BYTES = 10
MAX_APPENDS = 4
MAX_EVENTS = 6
NOW = 100.0
LIMIT = QueueLimit(1_000_000, 1_000_000_000)


def event(event_id: UUID | None = None) -> EncodedEvent:
    return EncodedEvent(event_id or uuid4(), "Happened", b"{}")


def request(
    *parts: tuple[str, int, Sequence[EncodedEvent]], size: int = 1, deadline: float = NOW + 1
) -> AppendRequest:
    append = tuple(
        StreamAppend(stream, version, tuple(events)) for stream, version, events in parts
    )
    return AppendRequest(append, size, deadline, LIMIT.admit(size, BLOCKING.signal()))


def to(stream: str, expected: int = ANY, *, size: int = 1, events: int = 1) -> AppendRequest:
    return request((stream, expected, [event() for _ in range(events)]), size=size)


def plan_of(*requests: AppendRequest) -> CommitPlan:
    plan = CommitPlan(MAX_BYTES, MAX_APPENDS, MAX_EVENTS)
    for each in requests:
        plan.add(each)
    return plan


def groups_of(plan: CommitPlan) -> Iterator[list[list[AppendRequest]]]:
    while len(plan):
        group, _ = plan.next_group(NOW)
        assert group is not None
        yield [list(item.requests) for item in group.items]


def test_appends_to_different_streams_share_a_commit() -> None:
    a, b = to("a", 0), to("b", 7)
    assert list(groups_of(plan_of(a, b))) == [[[a], [b]]]


def test_a_second_append_to_a_stream_waits_for_the_next_commit() -> None:
    first, second, other = to("a", 0), to("a", 1), to("b", 0)
    assert list(groups_of(plan_of(first, second, other))) == [[[first], [other]], [[second]]]


def test_appends_of_any_version_to_one_stream_become_one_item() -> None:
    a1, b, a2 = to("a"), to("b"), to("a", events=2)
    plan = plan_of(a1, b, a2)
    group, _ = plan.next_group(NOW)
    assert group is not None
    assert [list(item.requests) for item in group.items] == [[a1, a2], [b]]
    (part,) = group.items[0].append
    assert part.events == a1.append[0].events + a2.append[0].events
    assert part.expected_version == ANY


def test_an_exact_version_is_never_merged_with_any() -> None:
    first, exact, last = to("a"), to("a", 1), to("a")
    assert list(groups_of(plan_of(first, exact, last))) == [[[first]], [[exact]], [[last]]]


def test_an_event_id_is_at_most_once_in_a_commit() -> None:
    twice = event()
    a, b = request(("a", ANY, [twice])), request(("b", ANY, [twice]))
    again = request(("a", ANY, [twice]))
    assert list(groups_of(plan_of(a, b, again))) == [[[a]], [[b]], [[again]]]


def test_a_check_without_events_is_not_merged() -> None:
    check = request(("a", ANY, []))
    append = to("a")
    assert list(groups_of(plan_of(append, check))) == [[[append]], [[check]]]


def test_nothing_overtakes_what_waits_for_a_stream() -> None:
    a, ab, b = to("a", 0), request(("a", 1, [event()]), ("b", 0, [event()])), to("b", 1)
    assert list(groups_of(plan_of(a, ab, b))) == [[[a]], [[ab]], [[b]]]


def test_a_commit_holds_no_more_bytes_than_allowed_and_smaller_ones_fill_it() -> None:
    six, five, four = to("a", size=6), to("b", size=5), to("c", size=4)
    assert list(groups_of(plan_of(six, five, four))) == [[[six], [four]], [[five]]]


def test_an_append_larger_than_a_commit_goes_alone_and_lets_small_ones_pass() -> None:
    """G7: of 20 large appends at once, a small one waits for one at most."""
    large = [to(f"large-{n}", size=MAX_BYTES + 1) for n in range(20)]
    small = [to(f"small-{n}") for n in range(2)]
    groups = list(groups_of(plan_of(*large, *small)))
    assert groups[:3] == [[[large[0]]], [[small[0]], [small[1]]], [[large[1]]]]
    assert len(groups) == 21


def test_a_commit_of_nothing_gives_no_further_turn_to_a_large_append() -> None:
    """G7: between two large ones the small ones go, also if nothing could go meanwhile."""
    first, second, small = to("a", size=MAX_BYTES + 1), to("b", size=MAX_BYTES + 1), to("c")
    plan = plan_of(first)
    assert next(groups_of(plan)) == [[first]]
    late = request(("d", ANY, [event()]), deadline=NOW - 1)
    plan.add(late)
    assert plan.next_group(NOW) == (None, [late])
    plan.add(second)
    plan.add(small)
    assert list(groups_of(plan)) == [[[small]], [[second]]]


def test_two_large_appends_follow_each_other_if_nothing_small_can_go() -> None:
    first, second = to("a", 0, size=99), to("b", 0, size=99)
    behind = to("b", 1)
    assert list(groups_of(plan_of(first, second, behind))) == [[[first]], [[second]], [[behind]]]


def test_many_events_make_an_append_large_too() -> None:
    many = to("a", events=MAX_EVENTS + 1)
    other = to("b")
    assert list(groups_of(plan_of(many, other))) == [[[many]], [[other]]]


def test_what_nobody_waits_for_any_more_is_in_no_group() -> None:
    late = request(("a", 0, [event()]), deadline=NOW)
    alive = to("a", 0)
    plan = plan_of(late, alive)
    group, expired = plan.next_group(NOW)
    assert expired == [late]
    assert group == Group((Item((alive,)),))
    assert not len(plan)


def test_an_empty_plan_has_no_group() -> None:
    assert CommitPlan(MAX_BYTES).next_group(NOW) == (None, [])


def test_draining_empties_the_plan() -> None:
    a, b = to("a", 0), to("a", 1)
    plan = plan_of(a, b)
    assert plan.drain() == [a, b]
    assert not len(plan)


def test_a_group_keeps_only_the_requests_that_are_wanted() -> None:
    a1, a2, b = to("a"), to("a"), to("b")
    group = Group((Item((a1, a2)), Item((b,))))
    assert group.keeping(lambda _: True) == group
    assert group.keeping(lambda each: each is a2) == Group((Item((a2,)),))
    assert group.keeping(lambda _: False) is None


def test_sent_one_by_one_each_request_is_its_own_commit() -> None:
    a1, a2, b = to("a"), to("a"), to("b")
    group = Group((Item((a1, a2)), Item((b,))))
    alone = one_by_one(group.requests)
    assert [[list(item.requests) for item in each.items] for each in alone] == [
        [[a1]],
        [[a2]],
        [[b]],
    ]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.booleans())
def test_a_merged_result_is_split_exactly(counts: list[int], repeated: bool) -> None:
    item = Item(tuple(to("a", events=count) for count in counts))
    at = datetime.now(UTC)
    total = sum(counts)
    whole = AppendResult(
        stream_id="a",
        first_version=8,
        last_version=7 + total,
        first_global_position=101,
        last_global_position=100 + total,
        repeated=repeated,
    )
    answers = split(item, Committed((whole,), at))
    places = [place for answer in answers for place in _places(answer)]
    assert [len(_places(answer)) for answer in answers] == counts
    assert places == [(8 + n, 101 + n) for n in range(total)]
    assert all(answer.repeated is repeated and answer.created_at == at for answer in answers)


def _places(answer: Committed) -> list[tuple[int, int]]:
    (result,) = answer.results
    assert result.first_version is not None
    assert result.first_global_position is not None
    assert result.last_global_position is not None
    return list(
        zip(
            range(result.first_version, result.last_version + 1),
            range(result.first_global_position, result.last_global_position + 1),
            strict=True,
        )
    )


# ── any history of arrivals and commits ──────────────────────────────────────────────────────

SHARED_IDS = [uuid4() for _ in range(3)]
STREAMS = ["a", "b", "c", "d"]


@st.composite
def requests(draw: st.DrawFn) -> AppendRequest:
    streams = draw(st.lists(st.sampled_from(STREAMS), min_size=1, max_size=2, unique=True))
    spare = draw(st.permutations(SHARED_IDS))
    parts = []
    for stream in streams:
        expected = draw(st.sampled_from([ANY, ANY, 0, int(ExpectedVersion.STREAM_EXISTS)]))
        count = draw(st.integers(0, 3))
        reused = draw(st.integers(0, 9)) == 0
        ids = [spare.pop() if reused and spare else None for _ in range(count)]
        parts.append((stream, expected, [event(each) for each in ids]))
    size = draw(st.one_of(st.integers(0, 4), st.integers(0, 25)))
    return request(*parts, size=size, deadline=NOW + draw(st.sampled_from([-1, 1, 1, 1])))


@dataclass
class History:
    """What went into a plan and came out of it, checked at every step."""

    plan: CommitPlan = field(default_factory=lambda: CommitPlan(MAX_BYTES, MAX_APPENDS, MAX_EVENTS))
    arrived: list[AppendRequest] = field(default_factory=list)
    waiting: list[AppendRequest] = field(default_factory=list)
    gone: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Per request the number of its group and its place in there."""
    groups: int = 0
    large_went: bool = False

    def arrive(self, new: AppendRequest) -> None:
        self.arrived.append(new)
        self.waiting.append(new)
        self.plan.add(new)

    def commit(self) -> None:
        group, expired = self.plan.next_group(NOW)
        for each in expired:
            assert each.deadline <= NOW
            self.waiting.remove(each)
        alive = [each for each in self.waiting if each.deadline > NOW]
        if group is None:
            assert not alive
            return
        self._check_group(group)
        self._check_turn(group, alive)
        for item_number, item in enumerate(group.items):
            for each in item.requests:
                assert each.deadline > NOW
                assert id(each) not in self.gone
                self.gone[id(each)] = (self.groups, item_number)
                self.waiting.remove(each)
        self.groups += 1
        self.large_went = is_large(next(group.requests))

    def _check_group(self, group: Group) -> None:
        members = list(group.requests)
        if not is_large(members[0]):
            assert sum(each.size for each in members) <= MAX_BYTES
            assert sum(len(ids_of(each)) for each in members) <= MAX_EVENTS
        else:
            assert len(members) == 1
        assert len(members) <= MAX_APPENDS
        streams = [part.stream_id for item in group.items for part in item.append]
        assert len(streams) == len(set(streams))
        ids = [e.event_id for item in group.items for part in item.append for e in part.events]
        assert len(ids) == len(set(ids))
        for item in group.items:
            if len(item.requests) > 1:
                assert all(is_mergeable(each) for each in item.requests)

    def _check_turn(self, group: Group, alive: list[AppendRequest]) -> None:
        oldest, first = alive[0], next(group.requests)
        if self.large_went:
            small_and_ready = [
                each
                for place, each in enumerate(alive)
                if not is_large(each) and not any(conflict(each, b) for b in alive[:place])
            ]
            assert not (is_large(first) and small_and_ready)
        if not (self.large_went and is_large(oldest)):
            assert first is oldest

    def check_order(self) -> None:
        for place, later in enumerate(self.arrived):
            for earlier in self.arrived[:place]:
                if conflict(earlier, later) and id(earlier) in self.gone and id(later) in self.gone:
                    before, after = self.gone[id(earlier)], self.gone[id(later)]
                    merged = before == after and is_mergeable(earlier) and is_mergeable(later)
                    assert before[0] < after[0] or merged


def is_large(each: AppendRequest) -> bool:
    return each.size > MAX_BYTES or len(ids_of(each)) > MAX_EVENTS


def is_mergeable(each: AppendRequest) -> bool:
    return len(each.append) == 1 and each.append[0].expected_version == ANY and bool(ids_of(each))


def ids_of(each: AppendRequest) -> set[UUID]:
    return {e.event_id for part in each.append for e in part.events}


def conflict(one: AppendRequest, other: AppendRequest) -> bool:
    streams = {part.stream_id for part in one.append} & {part.stream_id for part in other.append}
    return bool(streams or ids_of(one) & ids_of(other))


STEPS = st.lists(st.one_of(requests(), requests(), st.none()), max_size=40)


@given(STEPS)
@example([to("a", size=99), to("b", size=99), to("c")])
@example([to("a"), to("a", 0), to("a")])
def test_every_history_keeps_order_limits_and_turns(steps: list[AppendRequest | None]) -> None:
    """G7, G9: each append is in exactly one commit, none overtakes its like, none starves."""
    history = History()
    for step in steps:
        if step is None:
            history.commit()
        else:
            history.arrive(step)
    for _ in range(len(steps) + 1):
        history.commit()
    assert not history.waiting
    assert not len(history.plan)
    expired = sum(each.deadline <= NOW for each in history.arrived)
    assert len(history.gone) == len(history.arrived) - expired
    history.check_order()
