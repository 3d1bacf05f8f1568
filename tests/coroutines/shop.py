"""The service of `test_fastapi.py`, and one like it without a store to compare with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request

from eventstore import (
    AsyncEventStore,
    Config,
    EventData,
    Events,
    ExpectedVersion,
    StorageUnavailableError,
    StreamNotFoundError,
    WrongExpectedVersionError,
)
from tests.coroutines.loop_times import reported

COMMIT = 0.005
"""Seconds in which the grouped service gathers requests, as long as a commit of many takes."""


async def confirm(_events: Events) -> None: ...


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with reported(), AsyncEventStore.connect(Config.from_env()) as store:
        await store.subscribe_to_all_streams("confirmations", confirm)
        app.state.store = store
        yield


@asynccontextmanager
async def empty_lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with reported():
        yield


@asynccontextmanager
async def grouped_lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.answers = []

    async def answer() -> None:
        while True:
            await asyncio.sleep(COMMIT)
            answers, app.state.answers = app.state.answers, []
            for each in answers:
                each.set_result(None)

    async with reported():
        answering = asyncio.ensure_future(answer())
        yield
        answering.cancel()


app = FastAPI(lifespan=lifespan)
empty = FastAPI(lifespan=empty_lifespan)
grouped = FastAPI(lifespan=grouped_lifespan)


@app.post("/orders/{order_id}", status_code=201)
async def place(order_id: str, order: dict[str, Any], request: Request) -> dict[str, Any]:
    store: AsyncEventStore = request.app.state.store
    event = EventData("OrderPlaced", order)
    try:
        result = await store.append_to_stream(
            f"order-{order_id}", ExpectedVersion.NO_STREAM, [event]
        )
    except WrongExpectedVersionError as error:
        raise HTTPException(409, str(error)) from error
    except StorageUnavailableError as error:
        raise HTTPException(503, "try again") from error
    return {"position": result.last_global_position}


@empty.post("/orders/{order_id}", status_code=201)
async def place_nowhere(order_id: str, order: dict[str, Any]) -> dict[str, Any]:
    return {"position": len(order_id), "order": order}


@grouped.post("/orders/{order_id}", status_code=201)
async def place_in_group(order_id: str, order: dict[str, Any], request: Request) -> dict[str, Any]:
    answer = asyncio.get_running_loop().create_future()
    request.app.state.answers.append(answer)
    await answer
    return {"position": len(order_id), "order": order}


@app.get("/orders/{order_id}")
async def read(order_id: str, request: Request) -> list[Any]:
    store: AsyncEventStore = request.app.state.store
    try:
        return [event.data async for event in store.stream_forward(f"order-{order_id}")]
    except StreamNotFoundError as error:
        raise HTTPException(404, str(error)) from error


@app.get("/health")
async def health(request: Request) -> dict[str, bool]:
    store: AsyncEventStore = request.app.state.store
    return {"ok": (await store.health()).running}
