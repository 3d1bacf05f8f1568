"""Folders and files that somebody else put where an embedded server keeps its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from eventstore.embedded import EmbeddedServer
from eventstore.embedded.home import LOG_LIMIT
from eventstore.embedded.own_files import open_own
from eventstore.model.errors import StorageError
from tests.support.pgserver import prepare
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

STRANGER = 1
"""The user `daemon`, as whom nothing runs."""

SECRET = "not yours\n" * 200_000
"""Longer than the limit of the log, so that it would be cut."""

FILES = ("server.log", "start.lock", "users.lock", "server.lock")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that must stay as it is."""
    path = tmp_path / "victim"
    path.write_text(SECRET)
    assert path.stat().st_size > LOG_LIMIT
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return prepare(tmp_path / "home")


def link(place: Path, victim: Path) -> None:
    place.symlink_to(victim)


def dangling_link(place: Path, victim: Path) -> None:
    place.symlink_to(victim.with_name("would be created"))


def second_name(place: Path, victim: Path) -> None:
    place.hardlink_to(victim)


def pipe(place: Path, victim: Path) -> None:
    os.mkfifo(place)


def strangers_file(place: Path, victim: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    place.touch()
    os.chown(place, STRANGER, STRANGER)


TRAPS = (link, dangling_link, second_name, pipe, strangers_file)


@ONLY_ROOT
def test_a_folder_of_somebody_else_is_refused_before_anything_in_it_is_opened(
    home: Path, victim: Path
) -> None:
    """F51: the input itself: a link for the log, in a folder of the one who set it."""
    (home / "server.log").symlink_to(victim)
    for path in (home, home / "server.log"):
        os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(StorageError, match=f"{home} belongs to user 'daemon'.*run as its owner"):
        EmbeddedServer.start(home)
    assert victim.read_text() == SECRET
    assert {each.name for each in home.iterdir()} == {"pgdata", "server.log"}


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.__name__)
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_of_ours_is_neither_followed_nor_written(
    home: Path, victim: Path, name: str, trap: Callable[[Path, Path], None]
) -> None:
    """F51: in a folder of our own, too, and for each file that is opened by its name."""
    trap(home / name, victim)
    with pytest.raises(StorageError, match=f"{home / name} .*remove it"):
        EmbeddedServer.start(home)
    assert victim.read_text() == SECRET
    assert not victim.with_name("would be created").exists()

    (home / name).unlink()
    EmbeddedServer.start(home).close()


def test_a_file_that_is_swapped_while_it_is_opened_is_never_followed(
    tmp_path: Path, victim: Path
) -> None:
    """F51: what was opened is looked at, and not its name, which may stand for another by then."""
    place, stop = tmp_path / "server.log", threading.Event()
    tries = {"opened": 0, "refused": 0}

    def swap() -> None:
        while not stop.is_set():
            (link := tmp_path / "link").symlink_to(victim)
            link.replace(place)
            (file := tmp_path / "file").touch()
            file.replace(place)

    def open_it() -> None:
        try:
            fd = open_own(place, os.O_RDWR | os.O_CREAT)
        except StorageError:
            tries["refused"] += 1
        else:
            tries["opened"] += 1
            assert not os.path.samestat(os.fstat(fd), victim.stat())
            os.close(fd)

    def both_happened() -> bool:
        # Several at a time: with one core, a link may be found once in 40 times.
        for _ in range(20):
            open_it()
            stop.wait(0.001)  # while the other thread swaps
        return min(tries.values()) >= 20

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        wait_until(both_happened)
    finally:
        stop.set()
        swapping.join()


def test_the_copy_of_a_large_log_replaces_a_link_of_its_name(home: Path, victim: Path) -> None:
    """F51: rotating the log writes a second file."""
    (home / "server.log").write_bytes(b"x" * (LOG_LIMIT + 1))
    (home / "server.log.1").symlink_to(victim)
    EmbeddedServer.start(home).close()
    assert victim.read_text() == SECRET
    assert not (home / "server.log.1").is_symlink()
    assert (home / "server.log.1").stat().st_size == LOG_LIMIT + 1


@pytest.mark.parametrize("name", ["PG_VERSION", "postmaster.pid"])
@pytest.mark.parametrize("trap", [link, pipe, strangers_file], ids=lambda trap: trap.__name__)
def test_files_of_the_data_are_read_only_if_they_are_of_their_owner(
    home: Path, victim: Path, name: str, trap: Callable[[Path, Path], None]
) -> None:
    """F51: a pipe would block the start for ever."""
    (home / "pgdata" / name).unlink(missing_ok=True)
    trap(home / "pgdata" / name, victim)
    with pytest.raises(StorageError, match=name):
        EmbeddedServer.start(home)


def test_a_link_is_no_data_folder(home: Path, tmp_path: Path) -> None:
    """F51: neither to the data of another server, nor to nothing, nor for the new data."""
    elsewhere = tmp_path / "elsewhere"
    (home / "pgdata").rename(elsewhere)
    for target in (elsewhere, tmp_path / "nowhere"):
        (home / "pgdata").symlink_to(target)
        with pytest.raises(StorageError, match="pgdata is a link"):
            EmbeddedServer.start(home)
        (home / "pgdata").unlink()

    (home / "pgdata.new").symlink_to(elsewhere)
    with pytest.raises(StorageError, match=r"pgdata\.new"):
        EmbeddedServer.start(home)
    assert (elsewhere / "PG_VERSION").exists()
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_in_which_everybody_may_write_is_refused(home: Path) -> None:
    """F51: the message says how to close it."""
    home.chmod(0o777)
    with pytest.raises(StorageError, match=f"chmod go-w {home}"):
        EmbeddedServer.start(home)
    home.chmod(0o755)
    EmbeddedServer.start(home).close()


@ONLY_ROOT
def test_root_takes_no_way_on_which_somebody_else_could_put_another_folder(
    tmp_path: Path, home: Path
) -> None:
    """F51: who owns a folder on the way can replace what is in it, at any moment."""
    (between := tmp_path / "between").mkdir()
    home = home.rename(between / "home")

    os.chown(between, STRANGER, STRANGER)
    with pytest.raises(StorageError, match=f"{between} belongs to user 'daemon'"):
        EmbeddedServer.start(home)
    os.chown(between, 0, 0)
    between.chmod(0o777)
    with pytest.raises(StorageError, match=f"chmod \\+t {between}"):
        EmbeddedServer.start(home)
    between.chmod(0o1777)
    EmbeddedServer.start(home).close()


@ONLY_ROOT
def test_a_link_on_the_way_is_followed_only_if_it_is_ours(tmp_path: Path, home: Path) -> None:
    """F51: directly, and through a link of ours to a link of somebody else."""
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.symlink_to(home)
    os.chown(theirs, STRANGER, STRANGER, follow_symlinks=False)
    ours.symlink_to("theirs")
    for way in (theirs, ours):
        with pytest.raises(StorageError, match=f"{theirs} belongs to user 'daemon'"):
            EmbeddedServer.start(way)

    theirs.unlink()
    theirs.symlink_to(home)
    with EmbeddedServer.start(ours) as server:
        assert server.data_path == home / "pgdata"


def test_a_way_that_leads_nowhere_is_refused_with_its_text(tmp_path: Path) -> None:
    """F51: a loop of links, a home folder of nobody, a name that no file can have."""
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "loop" / "shop", "~no-such-user/shop"):
        with pytest.raises((ValueError, StorageError), match=r"loop|no-such-user"):
            EmbeddedServer.start(path)
    with pytest.raises(StorageError, match="too long"):
        EmbeddedServer.start(tmp_path / ("x" * 300))
    with pytest.raises(ValueError, match="null"):
        EmbeddedServer.start(f"{tmp_path}/a\0b")


def test_a_version_that_is_none_is_shown(home: Path) -> None:
    """F51: a file that somebody else wrote."""
    (home / "pgdata" / "PG_VERSION").write_text("eighteen\n")
    with pytest.raises(StorageError, match="PG_VERSION holds no version: 'eighteen"):
        EmbeddedServer.start(home)
