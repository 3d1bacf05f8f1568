"""Write the surface for coroutines anew from the one for threads: `python -m tests.surfaces`.

The signatures, the documentation and the bodies of `AsyncEventStore` and `AsyncSubscription` are
those of `EventStore` and `Subscription`. What waits becomes a coroutine.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / "eventstore" / "client"
STORE = CLIENT / "store.py"
SUBSCRIPTION = ROOT / "eventstore" / "model" / "subscription.py"

WAITING = re.compile(
    r"self\._(append|append_series|call|close|delete|delete_snapshot|join|link|prepare|read"
    r"|record_snapshot|subscribe|wait_for|waited)\("
)
"""Calls of what `CoroutineCalls` has as coroutines."""

WORDS = {
    "Iterator[": "AsyncIterator[",
    "-> Follower:": "-> AsyncFollower:",
    "-> Subscription:": "-> AsyncSubscription:",
    "subscriber: Receiver": "subscriber: AsyncReceiver",
    "Block until": "Wait until",
    "`EventStore.": "`AsyncEventStore.",
    "Raised by this call, not by the first step.": "Raised by the first step.",
    "after the newest event as of this call; or a version,\n"
    "                exclusive,": "after the newest event as of the first step; or\n"
    "                a version, exclusive,",
    "A function that takes `Events`, or the reference of a pykka actor. A\n": (
        "A coroutine function of `Events`, which runs on the loop of this call.\n"
        "                Or a plain function, which runs in a thread; or an actor's reference. A\n"
    ),
    "Never waits for the database.": "The database is not asked.",
}
"""What is spelled in another way, in signatures and documentation."""

BODIES = {
    "connect": """
        open_store = partial(EventStore.connect, target, runtime=runtime, init=init, pool=pool)
        return Connecting(open_store, cls)
    """,
    "attach": """
        attach = partial(EventStore.attach, supervisor, timeout=timeout, runtime=runtime)
        return Connecting(attach, cls)
    """,
    "for_schema": "return await self._for_schema(name, init=init, types=types)",
    "config": "return self._store.config",
    "dsn": "return self._store.dsn",
    "close": "await self._close(timeout)",
    "join": "await self._join(timeout, any=any, signals=signals)",
    "ack": "subscription.ack(what)",
}
"""Bodies that are spelled in another way than for threads."""

SIGNATURES = {
    "connect": [("-> Self:", "-> Connecting[Self]:")],
    "attach": [("-> Self:", "-> Connecting[Self]:")],
    "join": [
        (
            "self, timeout: float | None = None, *, any: bool = False) -> None:  # noqa: A002\n",
            """
        self,
        timeout: float | None = None,
        *,
        any: bool = False,  # noqa: A002
        signals: bool = False,
    ) -> None:
""",
        )
    ],
    "for_schema": [("-> EventStore:", "-> Self:")],
    "ack": [("subscription: Subscription", "subscription: Subscription | AsyncSubscription")],
}

DOCS = {
    "append_to_stream": [
        (
            """One of
                psycopg or, over psycopg, a cursor of Django, a Session or Connection of SQLAlchemy.
""",
            """An
                `AsyncConnection` of psycopg or, over psycopg, of SQLAlchemy.
""",
        ),
        ("in a thread whose own", "in a task whose own"),
    ],
    "append_many": [
        ("Read once, as they are needed.", "Read once, as they are needed, in a thread.")
    ],
    "connect": [
        (
            "Connect to a store and start its runtime.",
            "Connect: await it, or enter it with ``async with``.",
        )
    ],
    "close": [("a handler may call it.", "does not wait in a handler.")],
    "join": [
        (
            """Wait until the store is closed, by any thread or by SIGTERM or SIGINT.

        The signals are handled only during this call, and only in the main thread. A second signal
        interrupts the close, and an orderly end is not waited for any longer.
""",
            """Wait until the store is closed.
""",
        ),
        (
            "\n        Raises:",
            """            signals: Close it at SIGTERM or SIGINT meanwhile; for the main thread.
                Defaults to False: the application handles signals.

        Raises:""",
        ),
    ],
}

HEAD = '''"""{title} `make surfaces` writes this file from {source}."""

from __future__ import annotations

'''

STORE_IMPORTS = '''
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import Any, Literal, Self, Unpack
from uuid import UUID

from eventstore.client.appending import check_iterable, prepare_one, prepare_several
from eventstore.client.async_subscription import AsyncSubscription
from eventstore.client.choosing import choice_of
from eventstore.client.coroutine_calls import Connecting, CoroutineCalls
from eventstore.client.coroutine_handler import AsyncReceiver
from eventstore.client.dropping import deleted, reset_to
from eventstore.client.following import AsyncFollower
from eventstore.client.linking import prepare_link
from eventstore.client.paging import FROM_END, PAGE, check_count, check_position
from eventstore.client.store import EventStore, key_of
from eventstore.model.answers import check_reason
from eventstore.model.awaited import Awaited
from eventstore.model.checks import check_bool, check_uuid
from eventstore.model.config import Config
from eventstore.model.event_filter import FilterKeywords, documents_filter
from eventstore.model.events import (
    AppendResult,
    EventData,
    LinkResult,
    RecordedEvent,
    StreamInfo,
    check_expected_version,
)
from eventstore.model.names import ALL_STREAMS, check_name, check_stream_id, check_subscribable
from eventstore.model.parked import ParkedEvent
from eventstore.model.projection import Projection, ProjectionInfo
from eventstore.model.serializer import Types
from eventstore.model.snapshots import Snapshot, SnapshotData
from eventstore.model.stream_listing import StreamListing
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import (
    Subscription,
    SubscriptionKeywords,
    SubscriptionOptions,
    documents_options,
)
from eventstore.model.subscription_info import SubscriptionInfo
from eventstore.ports.changes import Deletion
from eventstore.ports.reads import ReadDirection
from eventstore.ports.runtime import Health, Runtime

__all__ = ["AsyncEventStore"]

_FORWARD = ReadDirection.FORWARD
_BACKWARD = ReadDirection.BACKWARD


class AsyncEventStore(CoroutineCalls):
    """`EventStore` for asyncio: the same names, over the same actors and rules.

    Get one from `connect`, or from `attach` to a supervisor of your own. Close it, or use it in an
    ``async with`` statement. No call blocks the loop. Tasks of several loops may use one store.

    A cancelled call raises `asyncio.CancelledError`. An append that is cancelled may be stored;
    a note on the error says whether that is possible, and repeating it with the same ids tells.
    """

'''

SUBSCRIPTION_IMPORTS = '''
from collections.abc import Sequence
from typing import Literal

from eventstore.client.coroutine_handler import HANDLED
from eventstore.client.loop_waits import LoopWaits
from eventstore.client.own_thread import OwnThread
from eventstore.model.awaited import Awaited
from eventstore.model.events import RecordedEvent
from eventstore.model.subscription import SubscriptionState
from eventstore.ports.runtime import RunningSubscription

__all__ = ["AsyncSubscription"]


class AsyncSubscription:
    """The handle of a running subscription. Its properties, `ack` and `nack` never wait."""

    def __init__(self, handle: RunningSubscription, waits: LoopWaits) -> None:
        self._handle = handle
        self._waits = waits

    def __repr__(self) -> str:
        return f"<Async{repr(self._handle)[1:]}"

'''

HANDLE_BODIES = {
    "ack": "self._handle.ack(what)",
    "nack": "self._handle.nack(event, action, reason=reason)",
    "pause": "await self._waits.call(self._handle.pause)",
    "resume": "await self._waits.call(self._handle.resume)",
    "unsubscribe": """
        if HANDLED.get() is self._handle:
            # Its end waits for this handler, so it must not be waited for.
            OwnThread(
                self._handle.unsubscribe, "eventstore-unsubscribing", self._waits.threads
            )
        else:
            await self._waits.call(self._handle.unsubscribe)
    """,
    "wait_for": "await self._handle.reached(what, timeout, self._waits)",
    "caught_up": "await self._handle.reached(None, timeout, self._waits)",
    "join": "await self._handle.joined(timeout, self._waits)",
}

HANDLE_DOCS = {
    "join": [
        ("SIGTERM and SIGINT close its store meanwhile, as in", "No signal closes its store; see")
    ],
}


def async_store() -> str:
    """Return the text of `async_store.py`."""
    methods = [
        _method(text, name, BODIES.get(name), SIGNATURES.get(name, []), DOCS.get(name, []))
        for name, text in _public_methods(STORE, "EventStore")
    ]
    return _formatted("The facade for asyncio.", "store.py", STORE_IMPORTS, methods)


def async_subscription() -> str:
    """Return the text of `async_subscription.py`."""
    methods = [
        _method(
            text,
            name,
            HANDLE_BODIES.get(name, f"return self._handle.{name}"),
            [],
            HANDLE_DOCS.get(name, []),
        )
        for name, text in _public_methods(SUBSCRIPTION, "Subscription")
    ]
    return _formatted("The handle for asyncio.", "subscription.py", SUBSCRIPTION_IMPORTS, methods)


def _public_methods(path: Path, class_name: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each public method, with its decorators."""
    source = path.read_text()
    lines = source.splitlines(keepends=True)
    [found] = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == class_name
    ]
    for node in found.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            yield node.name, "".join(lines[first - 1 : node.end_lineno])


def _method(
    text: str,
    name: str,
    body: str | None,
    signature: list[tuple[str, str]],
    doc: list[tuple[str, str]],
) -> str:
    for before, after in WORDS.items():
        text = text.replace(before, after)
    for before, after in [*signature, *doc]:
        assert before in text, (name, before)
        text = text.replace(before, after, 1)
    if body is not None:
        text = _without_body(text) + "\n        " + body.strip() + "\n"
    if not (WAITING.search(text) if body is None else "await " in body):
        return text
    text = re.sub(rf"def {name}\(", f"async def {name}(", text, count=1)
    return text if body is not None else WAITING.sub(r"await self._\1(", text)


def _without_body(text: str) -> str:
    """Return the method up to its docstring, or to its signature if it has none."""
    indented = "class _:\n" + text
    [owner] = ast.parse(indented).body
    assert isinstance(owner, ast.ClassDef)
    [method] = owner.body
    assert isinstance(method, ast.FunctionDef)
    lines = indented.splitlines(keepends=True)
    first = method.body[0]
    has_doc = ast.get_docstring(method) is not None
    if has_doc:
        return "".join(lines[1 : first.end_lineno]).rstrip()
    before = "".join(lines[1 : first.lineno - 1]) + lines[first.lineno - 1][: first.col_offset]
    return before.rstrip()


def _formatted(title: str, source: str, imports: str, methods: list[str]) -> str:
    text = HEAD.format(title=title, source=source) + imports.lstrip() + "\n".join(methods)
    ruff = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "generated.py", "-"]
    done = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout


FILES = {
    CLIENT / "async_store.py": async_store,
    CLIENT / "async_subscription.py": async_subscription,
}


def main() -> None:
    for path, text in FILES.items():
        path.write_text(text())


if __name__ == "__main__":
    main()
