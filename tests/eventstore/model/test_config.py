"""Settings: each is checked by name, and no secret is shown."""

from __future__ import annotations

from typing import Any

import pytest

from eventstore import Config, JsonSerializer
from eventstore.model.dsn import masked


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("pool_size", 0, "pool_size must be at least 1: 0"),
        ("pool_size", "10", "pool_size must be an int, not str: '10'"),
        ("pool_size", True, "pool_size must be an int, not bool"),
        ("max_restarts", -1, "max_restarts must be at least 0: -1"),
        ("append_timeout", 0, "append_timeout must be 0.01 to"),
        ("append_timeout", float("nan"), "append_timeout must be 0.01 to"),
        ("append_timeout", float("inf"), "append_timeout must be 0.01 to"),
        ("lease", 0.02, "lease must be 0.03 to 1,000,000 seconds: 0.02"),
        ("poll_interval", None, "poll_interval must be seconds, not NoneType"),
        ("schema", "", "schema must not be empty"),
        ("schema", "漢" * 19, "schema is 57 bytes of UTF-8, at most 56"),
        ("schema", "pg_store", "schema must not be one of PostgreSQL's own: 'pg_store'"),
        ("schema", "a\x00b", "schema must not contain NUL"),
        ("enable_hard_deletes", "yes", "enable_hard_deletes must be a bool, not str"),
        ("listen_dsn", 3, "listen_dsn must be a str, not int"),
    ],
)
def test_a_bad_setting_is_refused_by_name_and_shown(setting: str, value: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as refusal:
        Config("memory:", **{setting: value})
    assert str(refusal.value).startswith(message)


class Silent(JsonSerializer):
    """A serializer of the application that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def test_settings_show_themselves_whatever_the_application_put_in() -> None:
    """F18: a store is shown with its settings in warnings and errors."""
    many = {f"type-{number}": dict for number in range(10_000)}

    text = repr(Config("memory:", serializer=Silent(), types=many))

    assert "serializer=<Silent without a repr>" in text
    assert len(text) < 3_000


def test_a_schema_of_56_bytes_is_possible() -> None:
    assert Config("memory:", schema="s" * 56).schema == "s" * 56


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:hunter2@host/db",
        "postgresql://host/db?user=me&password=hunter2",
        "host=h password=hunter2 dbname=d",
        "host=h password = 'hun\\'ter2' dbname=d",
        "host=h PASSWORD='hunter2'",
        "postgresql://me:hunt:er2@host/db",
    ],
)
def test_no_password_is_shown(dsn: str) -> None:
    for shown in (masked(dsn), repr(Config(dsn)), repr(Config("x", listen_dsn=dsn))):
        assert "ter2" not in shown
        assert "er2" not in shown
        assert "***" in shown


def test_the_rest_of_a_connection_string_is_shown() -> None:
    assert masked("host=h password=x dbname=d") == "host=h password=*** dbname=d"
    assert masked("postgresql://me:x@h:5432/d") == "postgresql://me:***@h:5432/d"
    assert masked("postgresql://h:5432/d") == "postgresql://h:5432/d"


def test_types_can_be_given_as_any_iterable() -> None:
    assert Config("memory:", types=(kind for kind in (int, str))).types == (int, str)


def test_settings_come_from_the_environment() -> None:
    """CFG-01, CFG-10, CFG-11, CFG-12, CFG-19."""
    environ = {
        "EVENTSTORE_DSN": "memory:",
        "EVENTSTORE_POOL_SIZE": "3",
        "EVENTSTORE_LEASE": "2.5",
        "EVENTSTORE_ALLOW_UNSAFE_DURABILITY": "true",
        "OTHER_SCHEMA": "no",
    }
    config = Config.from_env(environ=environ, schema="mine")
    assert config == Config(
        "memory:",
        pool_size=3,
        lease=2.5,
        allow_unsafe_durability=True,
        schema="mine",
        serializer=config.serializer,
    )


def test_every_setting_that_text_can_give_can_come_from_the_environment() -> None:
    environ = {f"P_{name.upper()}": "1" for name in Config.__dataclass_fields__}
    environ["P_DSN"] = environ["P_LISTEN_DSN"] = environ["P_SCHEMA"] = "text"
    config = Config.from_env("P_", environ)
    unread = {
        name
        for name, field in Config.__dataclass_fields__.items()
        if getattr(config, name) == field.default and field.default != 1
    }
    assert unread == {"types"}


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "EVENTSTORE_DSN is not set"),
        ({"EVENTSTORE_DSN": "d", "EVENTSTORE_POOL_SIZE": "ten"}, "EVENTSTORE_POOL_SIZE cannot"),
        ({"EVENTSTORE_DSN": "d", "EVENTSTORE_ENABLE_HARD_DELETES": "si"}, "not one of true, false"),
    ],
)
def test_a_bad_variable_is_named(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config.from_env(environ=environ)
