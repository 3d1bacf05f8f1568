"""SQLAlchemy itself: events in the transaction of a session, of a connection, of a loop's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool

from eventstore import (
    AsyncEventStore,
    CallerRuntime,
    Config,
    EventData,
    EventStore,
    WrongExpectedVersionError,
)


class Base(DeclarativeBase):
    """The tables of an application."""


class Order(Base):
    __tablename__ = "orders"

    number: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture
def config(dsn: str, schema: str) -> Config:
    return Config(dsn, schema=schema)


@pytest.fixture
def store(config: Config) -> Iterator[EventStore]:
    with EventStore.connect(config, runtime=CallerRuntime, init=True) as store:
        yield store


@pytest.fixture
def engine(store: EventStore, dsn: str, schema: str) -> Iterator[Engine]:
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool
    ).execution_options(schema_translate_map={None: schema})
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def placed(number: int) -> EventData:
    return EventData("OrderPlaced", {"number": number})


def orders(engine: Engine) -> list[int]:
    with Session(engine) as session:
        return sorted(order.number for order in session.query(Order))


def stored(store: EventStore) -> list[tuple[int, int]]:
    return [(e.global_position, e.data["number"]) for e in store.read_all_streams_forward()]


def test_rows_and_events_of_a_session_commit_together(store: EventStore, engine: Engine) -> None:
    """G37: the session is enough; a refusal leaves it usable."""
    with Session(engine) as session, session.begin():
        session.add(Order(number=1))
        session.flush()
        with pytest.raises(WrongExpectedVersionError):
            store.append_to_stream("order-1", 7, [placed(1)], connection=session)
        store.append_to_stream("order-1", 0, [placed(1)], connection=session)
        assert stored(store) == []
    assert (orders(engine), stored(store)) == ([1], [(1, 1)])


def test_a_session_that_rolls_back_stores_nothing(store: EventStore, engine: Engine) -> None:
    """G37, G3: nor does it leave a gap."""
    with Session(engine) as session:
        session.add(Order(number=1))
        store.append_to_stream("order-1", 0, [placed(1)], connection=session)
        session.rollback()
    assert (orders(engine), stored(store)) == ([], [])
    assert store.append_to_stream("order-1", 0, [placed(2)]).last_global_position == 1


def test_a_nested_transaction_takes_its_events_back_alone(
    store: EventStore, engine: Engine
) -> None:
    """G37: by a savepoint."""
    with Session(engine) as session, session.begin():
        session.add(Order(number=1))
        store.append_to_stream("order-1", 0, [placed(1)], connection=session)
        inner = session.begin_nested()
        store.append_to_stream("order-2", 0, [placed(2)], connection=session)
        inner.rollback()
    assert (orders(engine), stored(store)) == ([1], [(1, 1)])


def test_a_connection_and_its_cursor_are_enough(store: EventStore, engine: Engine) -> None:
    """G37: both lead to the same connection of psycopg."""
    with engine.begin() as connection:
        store.append_to_stream("order-1", 0, [placed(1)], connection=connection)
        cursor = connection.connection.cursor()
        store.append_to_stream("order-1", 1, [placed(2)], connection=cursor)
    assert stored(store) == [(1, 1), (2, 2)]


def test_what_has_not_begun_is_refused(store: EventStore, engine: Engine) -> None:
    """G37: SQLAlchemy would not commit it."""
    with engine.connect() as connection:
        with pytest.raises(ValueError, match="connection has not begun a transaction"):
            store.append_to_stream("order-1", 0, [placed(1)], connection=connection)
        with Session(engine) as session, pytest.raises(ValueError, match="has not begun"):
            store.append_to_stream("order-1", 0, [placed(1)], connection=session)
        connection.execute(text("SELECT 1"))
        store.append_to_stream("order-1", 0, [placed(1)], connection=connection)
        connection.commit()
    assert stored(store) == [(1, 1)]


def test_autocommit_and_other_isolation_levels_are_refused(
    store: EventStore, engine: Engine
) -> None:
    """G37: as for psycopg itself."""
    for level, problem in (("AUTOCOMMIT", "autocommit"), ("REPEATABLE READ", "isolation_level")):
        with engine.connect().execution_options(isolation_level=level) as connection:
            connection.begin()
            with pytest.raises(ValueError, match=problem):
                store.append_to_stream("order-1", 0, [placed(1)], connection=connection)


def test_other_databases_of_sqlalchemy_are_refused(store: EventStore) -> None:
    """G37: by what was given."""
    engine = create_engine("sqlite://", poolclass=NullPool)
    with (
        engine.begin() as connection,
        pytest.raises(TypeError, match=r"connection must be a connection .* of SQLAlchemy"),
    ):
        store.append_to_stream("order-1", 0, [placed(1)], connection=connection)
    engine.dispose()


def test_a_coroutine_uses_the_connection_of_its_session(
    config: Config, store: EventStore, engine: Engine, dsn: str
) -> None:
    """G37, G42: of psycopg's for asyncio; the session itself would have to be awaited."""

    async def connect() -> Any:
        return await psycopg.AsyncConnection.connect(dsn)

    async def main() -> None:
        engine = create_async_engine(
            "postgresql+psycopg://", async_creator=connect, poolclass=NullPool
        ).execution_options(schema_translate_map={None: config.schema})
        async with AsyncEventStore.connect(config) as waiting, AsyncSession(engine) as session:
            session.add(Order(number=1))
            await session.flush()
            with pytest.raises(TypeError, match="with an AsyncSession"):
                await waiting.append_to_stream("order-1", 0, [placed(1)], connection=session)
            mine = await session.connection()
            await waiting.append_to_stream("order-1", 0, [placed(1)], connection=mine)
            await session.commit()
        await engine.dispose()

    asyncio.run(main())
    assert (orders(engine), stored(store)) == ([1], [(1, 1)])
