"""The README's tables and lists name everything there is, and nothing else."""

from __future__ import annotations

import re
from dataclasses import MISSING, Field, fields
from typing import Any

from eventstore import Config, EventStore, Retry, SubscriptionState
from eventstore.model import errors
from eventstore.model.subscription import SubscriptionOptions
from tests.support.readme import README, ROOT, rows, section

MIB = 1024 * 1024


def written(value: object) -> str:
    """Return a default value as the README writes it."""
    match value:
        case None | ():
            return "none"
        case bool():
            return str(value)
        case int() if value >= MIB:
            return f"{value // MIB} MiB"
        case int() | float():
            return f"{value:,.0f}"
    return f"`{value}`"


def default_of(field: Field[Any]) -> str:
    if field.default is not MISSING:
        return written(field.default)
    return "required" if field.default_factory is MISSING else written(field.default_factory())


def option_default(field: Field[Any]) -> str:
    match field.default:
        case str() as name:
            return f'`"{name}"`'
        case Retry():
            return f"`{Retry.__name__}()`"
        case value:
            return written(value)


def test_the_configuration_table_lists_every_field_with_its_default() -> None:
    table = {name: default for name, (default, _meaning) in rows("## Configuration").items()}
    assert table == {field.name: default_of(field) for field in fields(Config)}


def test_the_options_table_lists_every_option_with_its_default() -> None:
    table = {name: default for name, (default, _meaning) in rows("### Options").items()}
    assert table == {field.name: option_default(field) for field in fields(SubscriptionOptions)}


def test_the_errors_table_lists_every_error_and_whether_to_repeat() -> None:
    table = {
        name: retryable for name, (retryable, _what) in rows("## Errors, and what to do").items()
    }
    assert table == {
        name: "yes" if getattr(errors, name).retryable else "no" for name in errors.__all__
    }


def test_every_promise_is_listed_once_and_named_by_a_test_unless_it_is_marked() -> None:
    promises = re.findall(r"^- \*\*G(\d+)\*\* (◇?)", section("## Guarantees"), re.MULTILINE)
    assert [int(number) for number, _mark in promises] == [*range(1, 41), 42]
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for number, mark in promises:
        assert mark or re.search(rf"\bG{number}\b", tests), f"no test names G{number}"


def test_the_state_diagram_shows_every_state() -> None:
    [diagram] = re.findall(r"stateDiagram-v2\n(.*?)```", README, re.DOTALL)
    states = set(re.findall(r"\b[A-Z][A-Z_]+\b", diagram))
    assert states == {state.name for state in SubscriptionState}


def test_every_public_method_of_the_store_is_mentioned() -> None:
    methods = [name for name in vars(EventStore) if not name.startswith("_")]
    missing = [name for name in methods if name not in README]
    assert not missing
