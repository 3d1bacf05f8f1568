"""Who the embedded server runs as: a user, one without a name, root with and without namespaces."""

from __future__ import annotations

import os
import platform
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from eventstore.embedded import EmbeddedServer
from eventstore.embedded.binaries import find_binaries
from eventstore.embedded.identity import Identity, choose_identity
from eventstore.embedded.user_ids import UNUSED, has_name
from eventstore.model.errors import StorageError
from tests.support.pgserver import prepare

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else"),
    pytest.mark.skipif(platform.system() != "Linux", reason="namespaces are of Linux"),
]

NOBODY = 65534
NAMELESS = 123_456
"""A user as containers have them: ``docker run --user 123456``."""

STARTS = """
import os, shutil, sys, tempfile
import psycopg
from eventstore.embedded import EmbeddedServer
from eventstore.model.errors import StorageError
from tests.support.denied_namespaces import deny_user_namespaces

path, uid, *denied = sys.argv[1:]
create = "existing" not in denied
denied = [each for each in denied if each == "denied"]
if denied:
    deny_user_namespaces()
if int(uid):
    os.setgroups([])
    os.setgid(int(uid))
    os.setuid(int(uid))
try:
    for time in ("first", "second"):
        with EmbeddedServer.start(path, create=create) as server:
            psycopg.connect(server.dsn).close()
            owner = os.stat(server.data_path).st_uid
except StorageError as error:
    print("refused:", error)
else:
    print("data of", owner)
"""

PRIES = """
import os, sys, time
home, nobody = sys.argv[1], int(sys.argv[2])
os.setgroups([])
os.setgid(nobody)
os.setuid(nobody)
print("prying", flush=True)
os.set_blocking(0, False)
seen = set()
while sys.stdin.buffer.read() is None:
    for data in ("pgdata.new/data", "pgdata"):
        for place in (data, data + "/PG_VERSION", data + "/base"):
            if place != "pgdata" and os.access(os.path.join(home, place), os.F_OK):
                seen.add(place)
print(sorted(seen))
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach; that of pytest is private."""
    path = Path(tempfile.mkdtemp(prefix="eventstore-test-", dir="/tmp"))
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def reachable() -> None:
    try:
        find_binaries(Identity(NAMELESS, user=NAMELESS, group=NAMELESS), None)
    except StorageError:
        pytest.skip("no PostgreSQL that another user can reach, such as a wheel below /root")


def may_have_namespaces() -> bool:
    command = ["unshare", "--user", f"--map-user={NOBODY}", "true"]
    return subprocess.run(command, check=False, user=NAMELESS, capture_output=True).returncode == 0


def started(path: Path, uid: int = 0, *how: str, **environment: str | None) -> str:
    """Start a server in *path* as *uid*, twice; return what the script says of it."""
    kept = {name: value for name, value in (os.environ | environment).items() if value is not None}
    result = subprocess.run(
        [sys.executable, "-c", STARTS, str(path), str(uid), *how],
        capture_output=True,
        text=True,
        check=False,
        env=kept,
        timeout=200,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def give(folder: Path, uid: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, uid)


def test_an_ordinary_user_has_a_server(open_folder: Path) -> None:
    assert started(open_folder / "home", NOBODY) == f"data of {NOBODY}"


# ── a user without a name ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("home", [None, "/", "/proc/1"])
def test_a_user_without_a_name_has_a_server(open_folder: Path, home: str | None) -> None:
    """F50: in containers; without a home folder, and with one that nobody can write."""
    if not may_have_namespaces():
        pytest.skip("this machine denies user namespaces")
    assert not has_name(NAMELESS)
    assert started(open_folder / "home", NAMELESS, HOME=home) == f"data of {NAMELESS}"


def test_a_user_without_a_name_is_told_what_to_do_where_namespaces_are_denied(
    open_folder: Path,
) -> None:
    """F50: PostgreSQL's initdb looks the name up, and nothing else can give one."""
    said = started(open_folder / "home", NAMELESS, "denied")
    assert said.startswith(f"refused: user {NAMELESS} has no name on this machine")
    assert f"'eventstore:x:{NAMELESS}:{NAMELESS}::/:/bin/false' to /etc/passwd" in said


def test_data_that_exist_need_no_name(open_folder: Path) -> None:
    """F50: only initdb does; the data may come from an image or from an earlier run."""
    home = prepare(open_folder / "home")
    give(home, NAMELESS)
    assert started(home, NAMELESS, "denied", HOME=None) == f"data of {NAMELESS}"


def test_nothing_but_the_folder_of_the_store_has_to_be_writable() -> None:
    """F50: a container with a read-only file system and one volume, without temporary files."""
    read_only = " && ".join(
        f"mount --bind {each} {each} && mount -o remount,bind,ro {each}"
        for each in ("/tmp", "/var/tmp")
    )
    with tempfile.TemporaryDirectory(dir="/dev/shm") as volume:
        home = Path(volume, "home")
        home.mkdir()
        for folder in (Path(volume), home):
            os.chown(folder, NOBODY, NOBODY)
        command = [sys.executable, "-c", STARTS, str(home), str(NOBODY)]
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", f'{read_only} && exec "$@"', "sh", *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
            env={name: value for name, value in os.environ.items() if name != "TMPDIR"},
        )
    if "permission denied" in done.stderr.lower():
        pytest.skip("this machine denies mounts")
    assert done.stdout.strip() == f"data of {NOBODY}", done


# ── root ─────────────────────────────────────────────────────────────────────────────────────────


def test_root_without_namespaces_has_a_server_of_a_user_that_nothing_else_runs_as(
    open_folder: Path,
) -> None:
    """F52: the user has no name, so no service and nobody can become it but root."""
    home = open_folder / "home"
    owner = int(started(home, 0, "denied").removeprefix("data of "))
    assert owner in UNUSED
    assert not has_name(owner)
    assert {each.lstat().st_uid for each in (home / "pgdata").rglob("*")} == {owner}
    assert stat.S_IMODE(home.stat().st_mode) == 0o710
    assert (home.stat().st_uid, home.stat().st_gid) == (0, owner)


@pytest.mark.parametrize("mode", [None, 0o700, 0o755])
def test_a_process_of_nobody_never_reaches_the_data_of_root(
    open_folder: Path, mode: int | None
) -> None:
    """F52: not while initdb runs, which takes the name of `nobody`, nor later."""
    home = open_folder / "home"
    if mode is not None:
        home.mkdir(mode=mode)
    with subprocess.Popen(
        [sys.executable, "-c", PRIES, str(home), str(NOBODY)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as prying:
        assert prying.stdout is not None
        assert prying.stdout.readline() == "prying\n"
        assert started(home, 0, "denied").startswith("data of ")
        seen, _ = prying.communicate(timeout=60)
    assert seen == "[]\n"
    assert stat.S_IMODE(home.stat().st_mode) == (0o755 if mode == 0o755 else 0o710)


def test_a_process_of_nobody_is_refused_by_the_server_of_root(open_folder: Path) -> None:
    """F52: it cannot even enter the folder of the socket."""
    script = """
import os, sys, time
import psycopg
from eventstore.embedded import EmbeddedServer
from tests.support.denied_namespaces import deny_user_namespaces
deny_user_namespaces()
with EmbeddedServer.start(sys.argv[1]) as server:
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            os.listdir(psycopg.conninfo.conninfo_to_dict(server.dsn)["host"])
        except PermissionError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
"""
    command = [sys.executable, "-c", script, str(open_folder / "home")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr


def test_two_servers_of_root_have_different_users(open_folder: Path) -> None:
    """F52: neither is superuser on the data of the other."""
    owners = {started(open_folder / name, 0, "denied") for name in ("one", "two", "three")}
    assert len(owners) == 3


def test_root_without_the_program_for_namespaces_goes_the_same_way(open_folder: Path) -> None:
    """F52: a slim image has no `unshare`."""
    owner = started(open_folder / "home", PATH="/nonexistent").removeprefix("data of ")
    assert int(owner) in UNUSED


def test_data_that_nobody_may_change_are_refused_by_root_with_the_remedy(
    open_folder: Path,
) -> None:
    """F52: data of an earlier state; any process of `nobody` could have written them."""
    home = prepare(open_folder / "home")
    give(home / "pgdata", NOBODY)
    said = started(home, 0, "denied")
    assert said.startswith("refused: PostgreSQL cannot run as root")
    assert f"{home / 'pgdata'} belongs to user '{pwd.getpwuid(NOBODY).pw_name}'" in said
    assert "chown -R 6" in said


def test_the_remedy_for_data_of_root_where_namespaces_are_denied_works(open_folder: Path) -> None:
    """F52: the command of the message, run as it stands."""
    home = prepare(open_folder / "home")
    said = started(home, 0, "denied")
    command = said.partition("runs as: ")[2]
    assert command.startswith("chown -R "), said
    subprocess.run(command.split(), check=True)
    assert started(home, 0, "denied").startswith("data of 6")


def test_root_does_not_go_on_in_a_folder_that_somebody_else_made(open_folder: Path) -> None:
    """F51, F52: what is in it is the word of that user."""
    assert started(open_folder / "home", NOBODY) == f"data of {NOBODY}"
    with pytest.raises(StorageError, match=f"belongs to user '{pwd.getpwuid(NOBODY).pw_name}'"):
        EmbeddedServer.start(open_folder / "home")


def test_two_users_have_no_server_together(open_folder: Path) -> None:
    """F51: the second one is told whose the folder is, or that it cannot look into it."""
    home = open_folder / "home"
    assert started(home, NOBODY) == f"data of {NOBODY}"
    for how in ([], ["existing"]):
        said = started(home, NAMELESS, *how)
        assert f"belongs to user 'nobody' and this process runs as {NAMELESS}" in said


def test_data_of_a_third_user_is_refused_with_its_name(tmp_path: Path) -> None:
    data = tmp_path / "pgdata"
    data.mkdir()
    os.chown(data, 1, 1)
    with pytest.raises(StorageError, match=f"belongs to user '{pwd.getpwuid(1).pw_name}'"):
        choose_identity(data)


def test_root_keeps_its_files_where_namespaces_are_allowed(tmp_path: Path) -> None:
    """Below a private folder, too: no other user has to reach it."""
    if not choose_identity(tmp_path / "new").prefix:
        pytest.skip("this machine denies user namespaces")
    tmp_path.chmod(0o700)
    with EmbeddedServer.start(tmp_path / "home") as server, psycopg.connect(server.dsn):
        assert server.data_path.stat().st_uid == 0
