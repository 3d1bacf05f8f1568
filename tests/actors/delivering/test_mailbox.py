from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from eventstore.ports.ownership import Fence
from eventstore_actors.delivering.function_subscriber import Letter, Mailbox

FENCE = Fence(1, UUID(int=1), 1)


def letter(number: int) -> Letter:
    batch: Any = f"batch {number}"
    return Letter(1, batch, number - 1, FENCE, 0)


def filled(*numbers: int) -> Mailbox:
    mailbox = Mailbox()
    for number in numbers:
        mailbox.put([letter(number)])
    return mailbox


def test_batches_are_fetched_in_the_order_in_which_they_were_put_in() -> None:
    mailbox = filled(1, 2)

    assert [mailbox.fetch() for _ in range(3)] == [letter(1), letter(2), None]


def test_only_the_first_batch_has_to_be_told() -> None:
    mailbox = Mailbox()

    assert [mailbox.put([letter(n)]) for n in (1, 2)] == [True, False]


def test_what_was_not_fetched_can_be_taken_back() -> None:
    """G20: with the position before it, from where it is sent again."""
    mailbox = filled(1, 2, 3)
    mailbox.fetch()

    assert mailbox.take_back() == 1
    assert mailbox.fetch() is None
    assert mailbox.take_back() is None


def test_nothing_is_fetched_after_the_end_of_the_lease() -> None:
    """G16."""
    mailbox = filled(1)

    assert mailbox.renew(time.monotonic() - 1) is True
    assert mailbox.fetch() is None

    assert mailbox.renew(time.monotonic() + 60) is True, "so that its subscriber is told again"
    assert mailbox.fetch() == letter(1)
    assert mailbox.renew(time.monotonic() + 60) is False


def test_a_closed_mailbox_stays_empty() -> None:
    mailbox = filled(1)
    mailbox.close()
    mailbox.put([letter(2)])

    assert mailbox.fetch() is None
