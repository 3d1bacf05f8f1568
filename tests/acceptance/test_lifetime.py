"""The end of a store: signals close one that is joined, and a forgotten one is closed at exit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from eventstore import (
    CallerRuntime,
    Config,
    EventData,
    EventStore,
    ExpectedVersion,
    NotRunningError,
)
from tests.support.recorder import Stuck
from tests.support.waiting import AGES, PATIENCE, wait_until

SERVICE = """
import signal, sys, threading, warnings
from eventstore import Config, EventData, EventStore, ExpectedVersion

warnings.simplefilter("default")
store = EventStore.connect(Config("memory:", stop_timeout=100))
seen = store.subscribe_to_all_streams("all", lambda events: None)

def handlers():
    return {signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}

DEFAULT = {signal.SIG_DFL, signal.default_int_handler}

def when(condition, tell):
    def watch():
        while not condition():
            threading.Event().wait(0.005)
        tell()
    threading.Thread(target=watch, daemon=True).start()

def when_joined(tell):
    when(lambda: not DEFAULT & handlers(), tell)

def say(word):
    # In one piece: two threads may speak at the same time.
    return lambda: (sys.stdout.write(word + "\\n"), sys.stdout.flush())

def say_when_joined_and_closing():
    when_joined(lambda: (say("ready")(), when(lambda: DEFAULT == handlers(), say("closing"))))

def append():
    return store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", 1)])

hanging = threading.Event()

def hang(events):
    say("hangs")()
    hanging.set()
    threading.Event().wait()

seen.wait_for(append(), timeout=60)
"""


def service(rest: str, start: str = SERVICE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", start + rest],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def says(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == f"{word}\n"


def says_all(process: subprocess.Popen[str], words: set[str]) -> None:
    """Check for words that two threads say, in any order."""
    assert process.stdout is not None
    assert {process.stdout.readline().rstrip() for _ in words} == words


SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
JOINED = pytest.mark.parametrize("joined", ["store", "seen"])
"""A store, or a subscription."""


@JOINED
@SIGNALS
def test_a_signal_closes_a_joined_store_and_the_process_ends_in_order(
    number: int, joined: str
) -> None:
    """F16, G26: whether the store is joined or one of its subscriptions."""
    process = service(f"when_joined(say('ready')); {joined}.join(); print('joined')")
    says(process, "ready")
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert (out, err, process.returncode) == ("joined\n", "", 0)


@JOINED
@SIGNALS
def test_a_signal_that_another_thread_gets_closes_a_joined_store(number: int, joined: str) -> None:
    """F16, G26: the system picks any thread where the main one was just woken by SIGCONT."""
    process = service(
        f"when_joined(lambda: signal.pthread_kill(threading.get_ident(), {int(number)}));"
        f"{joined}.join(timeout=60); print('joined')"
    )
    out, err = process.communicate(timeout=120)
    assert (out, err, process.returncode) == ("joined\n", "", 0)


OWNING = """
import sys
from eventstore import EventData, EventStore, ExpectedVersion
store = EventStore.connect(f"embedded:{sys.argv[1]}")
handles = [store.subscribe_to_all_streams(name, lambda events: None) for name in ("a", "b")]
stored = store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", 1)])
handles[0].wait_for(stored, timeout=60)
handles[1].wait_for(stored, timeout=60)
print("ready", flush=True)
handles[0].join()
"""


def test_a_signal_to_who_joins_a_subscription_leaves_no_dead_owner(tmp_path: Path) -> None:
    """F16, G26, G27: nor does the other subscription of the same store."""
    folder = tmp_path / "data"
    process = subprocess.Popen(
        [sys.executable, "-c", OWNING, str(folder)], stdout=subprocess.PIPE, text=True
    )
    says(process, "ready")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    # Between the last word and the join a signal ends it as ever.
    assert process.returncode in {0, -signal.SIGTERM}
    with EventStore.connect(f"embedded:{folder}", runtime=CallerRuntime) as store:
        infos = store.subscriptions()
    if process.returncode == 0:
        assert [(info.checkpoint, info.owner) for info in infos] == [(1, None), (1, None)]


@pytest.mark.parametrize("end", ["store.join()", "seen.join()"])
def test_a_subscriber_that_closes_its_store_ends_who_joins(end: str) -> None:
    """F16, G26."""
    closing = (
        "closer = store.subscribe_to_all_streams('closer', lambda events: store.close(),"
        "start_from='current'); when_joined(append);"
    )
    process = service(f"{closing}{end}; print('joined'); store.close()")
    out, err = process.communicate(timeout=120)
    assert (out, err, process.returncode) == ("joined\n", "", 0)


def waiting(subscription: Any) -> bool:
    return bool(subscription._waiting)


def test_who_joins_in_another_thread_leaves_the_signals_alone() -> None:
    """F16: Python handles them in the main thread."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with EventStore.connect("memory:") as store:
        subscription = store.subscribe_to_all_streams("all", lambda _: None)
        joining = threading.Thread(target=subscription.join)
        joining.start()
        wait_until(lambda: waiting(subscription))
        assert before == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    joining.join(PATIENCE)
    assert not joining.is_alive()


def test_waiting_for_an_event_is_no_join_and_is_interrupted_as_anything_is() -> None:
    """F16."""
    process = service(
        "hung = store.subscribe_to_all_streams('hangs', hang);"
        "when(lambda: hung._waiting, say('ready')); hung.wait_for(append(), timeout=100)"
    )
    says_all(process, {"hangs", "ready"})
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGTERM


HUNG = "hung = store.subscribe_to_all_streams('hangs', hang); append(); hanging.wait();"
"""Goes on when the handler hangs: a close that begins before would not wait for it."""


@pytest.mark.parametrize(
    "rest",
    [
        "store.join()",
        "seen.join()",
        "\nwith store: store.join()",
        "\nwith store: seen.join()",
        "\ntry: store.join()\nfinally: store.close()",
    ],
)
def test_a_second_signal_ends_a_close_that_waits_for_a_hung_handler(rest: str) -> None:
    """F46: at once, though the close may take 100 s."""
    process = service(f"{HUNG} say_when_joined_and_closing();{rest}")
    says(process, "hangs")
    says(process, "ready")
    process.send_signal(signal.SIGINT)
    says(process, "closing")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in err
    assert out == ""


def test_a_second_signal_ends_a_close_that_a_first_one_began_without_a_join() -> None:
    """F46: in the ``with`` statement."""
    process = service(
        f"{HUNG} when(lambda: store._runtime._tree.stops_by < 1e300, say('closing'))\n"
        "with store:\n say('ready')(); threading.Event().wait()"
    )
    says(process, "hangs")
    says(process, "ready")
    process.send_signal(signal.SIGINT)
    says(process, "closing")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT


def test_a_signal_ends_the_close_at_exit_that_waits_for_a_hung_handler() -> None:
    """F46."""
    process = service(f"{HUNG} when(lambda: store._runtime._tree.stops_by < 1e300, say('closing'))")
    says(process, "hangs")
    says(process, "closing")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)


def test_the_least_time_of_several_closes_counts() -> None:
    """F46, G26: the second one may hurry, and none that comes later takes back the haste."""
    stuck = Stuck()
    store = EventStore.connect(Config("memory:", stop_timeout=AGES))
    store.subscribe_to_all_streams("hangs", stuck)
    store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", 1)])
    assert stuck.entered.wait(PATIENCE)
    closing = threading.Thread(target=store.close)
    closing.start()
    wait_until(lambda: not store.health().running)
    store.close(timeout=0)
    store.close()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    stuck.released.set()


def test_a_handler_that_c_code_has_installed_stays_and_is_no_error() -> None:
    """F16: Python cannot put it back, so nothing else takes its place."""
    code = (
        "import ctypes, signal, sys\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.signal.restype = ctypes.c_void_p\n"
        "libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]\n"
        "pause = ctypes.cast(libc.abs, ctypes.c_void_p)\n"
        "libc.signal(signal.SIGTERM, pause)\n"
        # As at the start of an interpreter that C code embeds.
        "del sys.modules['_signal']; import _signal\n"
    )
    rest = (
        "print(signal.getsignal(signal.SIGTERM))\n"
        "try: store.join(timeout=0.1)\n"
        "except TimeoutError: print('still runs')\n"
        "signal.raise_signal(signal.SIGTERM)\n"
        "print(libc.signal(signal.SIGTERM, None) == pause.value)\n"
        "store.close()"
    )
    process = service(rest, start=code + SERVICE)
    out, err = process.communicate(timeout=120)
    assert (out, err, process.returncode) == ("None\nstill runs\nTrue\n", "", 0)


def test_the_handlers_of_before_come_back_after_join() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    store = EventStore.connect("memory:")
    threading.Timer(0.05, store.close).start()
    store.join()
    assert before == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


def test_join_ends_with_a_timeout() -> None:
    with EventStore.connect("memory:") as store, pytest.raises(TimeoutError, match=r"0\.05 s"):
        store.join(timeout=0.05)


def test_joining_a_closed_store_returns_at_once() -> None:
    store = EventStore.connect("memory:")
    store.close()
    store.join()


def test_a_forgotten_store_is_closed_at_exit_with_a_warning() -> None:
    process = service("print('end')")
    out, err = process.communicate(timeout=120)
    assert (out, process.returncode) == ("end\n", 0)
    assert "ResourceWarning: <EventStore Config(dsn='memory:'" in err
    assert "open> was not closed" in err


def test_after_a_fork_the_child_is_refused_and_its_close_touches_nothing() -> None:
    with EventStore.connect("memory:") as store:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", 1)])
            except NotRunningError as error:
                store.close()
                os.write(writer, str(error).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(writer)
        with os.fdopen(reader) as told:
            assert told.read() == (
                f"this store belongs to process {os.getpid()}: connect again after a fork"
            )
        result = store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", 1)])
        assert result.last_version == 1


FORGETFUL = """
import sys
from eventstore import EventData, EventStore, ExpectedVersion

def subscribed():
    store = EventStore.connect(f"embedded:{sys.argv[1]}")
    handle = store.subscribe_to_all_streams("all", lambda events: None)
    return handle, store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", 1)])

handle, stored = subscribed()
import gc
gc.collect()
handle.wait_for(stored, timeout=60)
"""


def test_a_store_of_which_only_a_subscription_is_kept_runs_on_and_is_closed_before_its_server(
    tmp_path: Path,
) -> None:
    """F43, G26: its checkpoint is stored, and its ownership is released."""
    folder = tmp_path / "data"
    command = [sys.executable, "-c", FORGETFUL, str(folder)]
    subprocess.run(command, check=True, timeout=120)

    with EventStore.connect(f"embedded:{folder}", runtime=CallerRuntime) as store:
        info = store.subscription_info("$all", "all")
    assert info.checkpoint == 1
    assert info.owner is None


FORGETFUL_TWICE = """
import sys
from eventstore import EventStore, SubscriptionInUseError

def cell():
    store = EventStore.connect(f"embedded:{sys.argv[1]}")
    return store.subscribe_to_all_streams("all", print)

handle = cell()
try:
    handle = cell()
except SubscriptionInUseError as error:
    print("in use:", f":{__import__('os').getpid()}" in error.owner, flush=True)
print(handle.state, flush=True)
raise LookupError("the end")
"""


def test_a_cell_of_a_notebook_that_is_run_twice_is_told_and_all_its_stores_are_closed(
    tmp_path: Path,
) -> None:
    """F43, G17, G26: before the server that they share, and though the program fails."""
    folder = tmp_path / "data"
    command = [sys.executable, "-c", FORGETFUL_TWICE, str(folder)]
    ran = subprocess.run(command, check=False, timeout=120, capture_output=True, text=True)
    assert ran.stdout == "in use: True\nlive\n"
    assert ran.returncode == 1
    assert ran.stderr.endswith("LookupError: the end\n")
    with EventStore.connect(f"embedded:{folder}", runtime=CallerRuntime) as store:
        assert store.subscription_info("$all", "all").owner is None


CONNECTING = """
import threading
from eventstore import Config, EventStore
config = Config("host=/nowhere dbname=postgres", connect_timeout=100)
threading.Thread(target=EventStore.connect, args=[config], daemon=True).start()
while not [each for each in threading.enumerate() if each.name == "eventstore-opener"]:
    threading.Event().wait(0.005)
"""


def test_a_process_may_end_while_it_connects() -> None:
    """F43: at once, and in silence."""
    process = service("", start=CONNECTING)
    out, err = process.communicate(timeout=PATIENCE)
    assert (out, err, process.returncode) == ("", "", 0)


FORKING = """
import os
child = os.fork()
if child == 0:
    sys.exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
seen.wait_for(append(), timeout=60)
print(seen.checkpoint, store.health().running)
store.close()
"""


def test_a_forked_child_that_ends_closes_nothing_of_its_parent() -> None:
    """F43."""
    process = service(FORKING)
    out, err = process.communicate(timeout=120)
    assert (out, err, process.returncode) == ("3\n2 True\n", "", 0)
