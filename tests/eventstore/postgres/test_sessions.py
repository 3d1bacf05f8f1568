"""The sessions of a storage: whoever opens them, and when, closing the storage closes them all."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import quote, urlencode

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from eventstore.model.config import Config
from eventstore.model.names import ALL_STREAMS
from eventstore.storages.postgres import PostgresStorage
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User
from tests.eventstore.postgres.conftest import Psql
from tests.support.rooms import in_threads
from tests.support.waiting import PATIENCE


@pytest.fixture
def hurried() -> Iterator[None]:
    """Let threads alternate as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hurried")
def test_sessions_opened_by_many_threads_are_all_known_and_closed(
    open_storage: Callable[[], PostgresStorage],
) -> None:
    """F44, G26: none is left out, and none outlives the storage."""
    storage = open_storage()
    together = threading.Barrier(8)

    def open_many(_: int) -> None:
        together.wait(60)
        for _ in range(100):
            storage.keeper_session()

    in_threads(8, open_many)
    assert len([*storage._sessions]) == 800
    storage.close()
    assert all(session.closed for session in storage._sessions)
    storage.keeper_session()
    assert [*storage._sessions][-1].closed


def as_url(dsn: str) -> str:
    """Return a connection string as a URL with encoded values."""
    return "postgresql:///?" + urlencode(conninfo_to_dict(dsn), quote_via=quote, safe="")


def names_of_sessions(config: Config, psql: Psql) -> list[str]:
    """Use a store in every way, and return what its sessions are called."""
    before = [pid for (pid,) in psql("SELECT pid FROM pg_stat_activity")]
    storage = PostgresStorage(config)
    storage.open(init=False, deadline=soon())
    user, listener = User(storage), storage.head_listener()
    try:
        user.store("order-1")
        user.keep(user.own().fence)
        user.announce()
        listener.wait(PATIENCE)
        storage.stream_info(ALL_STREAMS, soon())
        rows = psql(
            "SELECT application_name FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND NOT pid = ANY (%s)",
            before,
        )
        return [name for (name,) in rows]
    finally:
        listener.close()
        user.close()
        storage.close()


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("form", [str, as_url], ids=["pairs", "url"])
def test_every_session_has_the_name_that_the_connection_string_gives(
    config: Config, psql: Psql, form: Callable[[str], str]
) -> None:
    """CFG-05, CFG-06, CFG-09, CFG-13: those that append, keep, announce, listen and read."""
    name = f"billing#{config.schema}"
    dsn = form(make_conninfo(config.dsn, application_name=name))

    names = names_of_sessions(replace(config, dsn=dsn), psql)

    assert len(names) >= 4
    assert all(each.startswith(name) for each in names)


@pytest.mark.usefixtures("storage")
def test_every_session_is_called_eventstore_by_default(config: Config, psql: Psql) -> None:
    """CFG-14."""
    names = names_of_sessions(config, psql)

    assert len(names) >= 4
    assert all(each.startswith("eventstore") for each in names)
