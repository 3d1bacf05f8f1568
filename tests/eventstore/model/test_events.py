"""Events and expected versions refuse what they cannot be."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from eventstore import EventData, ExpectedVersion
from eventstore.model.events import check_expected_version


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"event_type": ""}, "event_type must not be empty"),
        ({"event_type": 3}, "event_type must be a str, not int: 3"),
        ({"event_type": "漢" * 334}, "event_type is 1002 bytes"),
        ({"event_type": "a\x00"}, "event_type must not contain NUL"),
        ({"event_type": "\ud800"}, "event_type must be valid Unicode"),
        ({"event_id": "x"}, "event_id must be a uuid.UUID, not str: 'x'"),
        ({"causation_id": "x"}, "causation_id must be a uuid.UUID, not "),
        ({"correlation_id": 1}, "correlation_id must be a uuid.UUID, not "),
        ({"created_at": "now"}, "created_at must be a datetime, not "),
        ({"created_at": datetime(2026, 1, 1)}, "created_at must have a time zone"),  # noqa: DTZ001
    ],
)
def test_a_bad_field_of_an_event_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as refusal:
        EventData(**{"event_type": "X", "data": 1, **fields})
    assert message in str(refusal.value)


def test_event_ids_are_distinct_and_ascend() -> None:
    ids = [EventData("X", 1).event_id for _ in range(1_000)]
    assert ids == sorted(set(ids))
    assert ids[0].version == 7


def test_named_versions_pass_and_their_numbers_do_not() -> None:
    for named in ExpectedVersion:
        assert check_expected_version(named) is named
    for number in (-1, -2, -3):
        with pytest.raises(ValueError, match="expected_version must be 0 or more"):
            check_expected_version(number)
    assert check_expected_version(0) == ExpectedVersion.NO_STREAM


@pytest.mark.parametrize("value", ["0", 1.0, None, True, []])
def test_an_expected_version_is_a_number(value: Any) -> None:
    with pytest.raises(TypeError, match="expected_version must be a version"):
        check_expected_version(value)
