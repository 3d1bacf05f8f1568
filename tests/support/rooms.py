"""Runs a writer and a publisher without a supervisor; the test takes its place."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pykka

from eventstore.client.codec import Codec
from eventstore.client.targets import storage_for
from eventstore.model.config import Config
from eventstore.model.errors import StorageUnavailableError
from eventstore.model.events import ExpectedVersion
from eventstore.model.names import ALL_STREAMS
from eventstore.model.subscription import SubscriptionOptions
from eventstore.model.subscription_start import Origin
from eventstore.ports.ownership import Claim, Claimed, Held
from eventstore.ports.storage import AppendSession, Storage
from eventstore.ports.stored_events import (
    Append,
    Committed,
    EncodedEvent,
    Outcome,
    StoredEvent,
    StreamAppend,
    payload_bytes,
)
from eventstore.ports.waits import BLOCKING, run_blocking
from eventstore_actors.announcing.publisher import Publisher
from eventstore_actors.appending.writer import Writer
from eventstore_actors.kernel.messages import Child, Ref, Stop
from eventstore_actors.kernel.timer import Timer
from eventstore_actors.state.announcements import Announcements
from eventstore_actors.state.append_queue import AppendReply, AppendRequest, QueueLimit
from eventstore_actors.state.context import Context, Directory
from eventstore_actors.state.recent_events import RecentEvents

ANY = int(ExpectedVersion.ANY)
LONG = 60.0
"""Seconds that no step of a test should take."""


def encoded(
    data: bytes = b"{}", *, event_id: UUID | None = None, event_type: str = "Happened"
) -> EncodedEvent:
    return EncodedEvent(event_id or uuid4(), event_type, data)


def several(count: int) -> list[EncodedEvent]:
    return [encoded() for _ in range(count)]


def one(stream_id: str, expected: int = ANY, *events: EncodedEvent) -> Append:
    """Return an append of *events*, else of one new event, to one stream."""
    return (StreamAppend(stream_id, expected, events or (encoded(),)),)


def claim(
    storage: Storage,
    name: str = "shipping",
    stream_id: str = ALL_STREAMS,
    *,
    lease: float,
    owner: UUID | None = None,
) -> Claimed | Held:
    """Claim a subscription, as another runtime does."""
    claim = Claim(
        stream_id=stream_id,
        subscription_name=name,
        start=Origin.ORIGIN,
        owner=owner or uuid4(),
        owner_name="elsewhere",
        lease=lease,
        options=SubscriptionOptions().stored,
    )
    return storage.claim(claim, soon())


class Witness(pykka.ThreadingActor):
    """An actor that records its messages, in the place of a supervisor or a subscription."""

    use_daemon_thread = True

    def __init__(self, heard: queue.Queue[Any]) -> None:
        super().__init__()
        self._heard = heard

    def on_receive(self, message: Any) -> None:
        self._heard.put(message)


class Ear:
    """A witness, and ways to wait for its messages."""

    def __init__(self) -> None:
        self.heard: queue.Queue[Any] = queue.Queue()
        self.ref: Ref = Witness.start(self.heard)

    def next(self, wanted: type | tuple[type, ...] = object, timeout: float = LONG) -> Any:
        """Return the next message of the kind *wanted*; drop those before it."""
        deadline = time.monotonic() + timeout
        while True:
            message = self.heard.get(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(message, wanted):
                return message

    def so_far(self) -> list[Any]:
        """Return the messages that were sent so far and not taken yet."""
        self.ref.ask(None, timeout=LONG)
        messages = []
        while not self.heard.empty():
            messages.append(self.heard.get())
        return [message for message in messages if message is not None]


class Rooms:
    """The shared objects of one runtime, and ways to start its actors."""

    def __init__(self, config: Config, storage: Storage, timer: Timer, supervisor: Ear) -> None:
        self.config = config
        self.storage = storage
        self.supervisor = supervisor
        self.limit = QueueLimit(config.max_queued_appends, config.max_queued_bytes)
        recent = RecentEvents()
        # As with a subscription: the writer announces, and the listener listens.
        recent.watched = True
        self.shared = Context(
            config=config,
            storage=storage,
            codec=Codec(config.serializer, config.types),
            recent=recent,
            announcements=Announcements(),
            timer=timer,
            directory=Directory(),
            supervisor=supervisor.ref,
        )

    def start_writer(self) -> Ref:
        writer = Writer.start(self.shared)
        self.shared.directory.enter(Child.WRITER, writer)
        return writer

    def start_publisher(self) -> Ref:
        publisher = Publisher.start(self.shared)
        self.shared.directory.enter(Child.PUBLISHER, publisher)
        return publisher

    def listen_as(self, child: Child) -> Ear:
        """Take the place of *child*, and return what receives its messages."""
        ear = Ear()
        self.shared.directory.enter(child, ear.ref)
        return ear

    def send(self, append: Append, timeout: float = LONG) -> Waiting:
        """Send *append* to the writer without waiting for the answer."""
        size = sum(payload_bytes(part.events) for part in append)
        deadline = time.monotonic() + timeout
        reply = self.limit.admit(size, BLOCKING.signal())
        request = AppendRequest(append, size, deadline, reply)
        if not self.shared.directory.tell(Child.WRITER, request):
            reply.answer(StorageUnavailableError("there is no writer"))
        return Waiting(reply, deadline)

    def append(self, append: Append, timeout: float = LONG) -> Committed:
        return self.send(append, timeout).get()

    def stored(self) -> list[tuple[int, str, int, UUID]]:
        """Return position, stream, version and id of every stored event."""
        events: list[StoredEvent] = []
        while page := self.storage.read_after("$all", len(events), 1_000, 10**9, soon()):
            events += page
        return [(e.global_position, e.stream_id, e.stream_version, e.event_id) for e in events]


class Waiting:
    """An append whose answer is awaited."""

    def __init__(self, reply: AppendReply, deadline: float) -> None:
        self._reply = reply
        self._deadline = deadline

    def get(self) -> Committed:
        """Return the answer, or raise it."""
        return run_blocking(self._reply.wait(self._deadline))


@contextmanager
def rooms_over(
    config: Config, wrap: Callable[[Storage], Storage] = lambda storage: storage
) -> Iterator[Rooms]:
    """Open the storage of *config* and end every actor after the test."""
    storage = wrap(storage_for(config))
    storage.open(init=True, deadline=soon())
    timer = Timer()
    timer.start()
    try:
        yield Rooms(config, storage, timer, Ear())
    finally:
        pykka.ActorRegistry.stop_all()
        timer.stop()
        storage.close()


def stop(actor: Ref, seconds: float = LONG) -> None:
    """End *actor* in order, as its supervisor does."""
    reply = pykka.ThreadingFuture[None]()
    actor.tell(Stop(time.monotonic() + seconds, reply))
    reply.get(timeout=LONG)


def soon() -> float:
    return time.monotonic() + LONG


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run *work* in *count* threads at once; raise the error of one of them, if any."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]


Step = Callable[[Sequence[Append], float], list[Outcome]]


class ScriptedSession:
    """A session between the writer and the real one, in which a test decides about each attempt.

    An attempt without a scripted step goes to the real session.
    """

    def __init__(self, real: AppendSession) -> None:
        self._real = real
        self.steps: queue.SimpleQueue[Step | BaseException] = queue.SimpleQueue()
        self.attempts: list[list[Append]] = []
        self.closed = False

    @property
    def connected(self) -> bool:
        return self._real.connected

    def connect(self, deadline: float) -> None:
        self._real.connect(deadline)

    def append(self, appends: Sequence[Append], deadline: float) -> list[Outcome]:
        self.attempts.append(list(appends))
        if self.steps.empty():
            return self._real.append(appends, deadline)
        step = self.steps.get()
        if isinstance(step, BaseException):
            raise step
        return step(appends, deadline)

    def announce(self, wait: float) -> None:
        self._real.announce(wait)

    def through(self, appends: Sequence[Append], deadline: float) -> list[Outcome]:
        return self._real.append(appends, deadline)

    def close(self) -> None:
        self.closed = True
        self._real.close()


class Gate:
    """A step of a script that blocks until the test opens it."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, appends: Sequence[Append], deadline: float) -> list[Outcome]:
        self.entered.set()
        assert self.opened.wait(LONG)
        return self._step(appends, deadline)
