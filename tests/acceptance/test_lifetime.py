"""The end of a store: signals close one that is joined, and a forgotten one is closed at exit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from eventstore import CallerRuntime, EventData, EventStore, ExpectedVersion, NotRunningError

SERVICE = """
import signal, sys, threading, warnings
from eventstore import EventData, EventStore, ExpectedVersion

warnings.simplefilter("default")
store = EventStore.connect("memory:")
seen = store.subscribe_to_all_streams("all", lambda events: None)

def when_joined(tell):
    def watch():
        default = {signal.SIG_DFL, signal.default_int_handler}
        while default & {signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}:
            threading.Event().wait(0.005)
        tell()
    threading.Thread(target=watch, daemon=True).start()

seen.wait_for(store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", 1)]), timeout=10)
"""


def service(rest: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SERVICE + rest],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_closes_a_joined_store_and_the_process_ends_in_order(number: int) -> None:
    """G26."""
    process = service(
        "when_joined(lambda: print('ready', flush=True)); store.join(); print('joined')"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert (out, err, process.returncode) == ("joined\n", "", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_another_thread_gets_closes_a_joined_store(number: int) -> None:
    """G26: the system picks any thread where the main one was just woken by SIGCONT."""
    process = service(
        f"when_joined(lambda: signal.pthread_kill(threading.get_ident(), {int(number)}));"
        "store.join(timeout=10); print('joined')"
    )
    out, err = process.communicate(timeout=120)
    assert (out, err, process.returncode) == ("joined\n", "", 0)


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
    """G26: its checkpoint is stored, and its ownership is released."""
    folder = tmp_path / "data"
    command = [sys.executable, "-c", FORGETFUL, str(folder)]
    subprocess.run(command, check=True, timeout=120)

    with EventStore.connect(f"embedded:{folder}", runtime=CallerRuntime) as store:
        info = store.subscription_info("$all", "all")
    assert info.checkpoint == 1
    assert info.owner is None
