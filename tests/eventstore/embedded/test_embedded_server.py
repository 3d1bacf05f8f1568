"""An embedded server by itself: what it promises, what it keeps, what it refuses."""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from eventstore.embedded import EmbeddedServer, binaries
from eventstore.embedded.home import LOG_LIMIT, Home
from eventstore.model.errors import StorageError
from tests.support.pgserver import prepare


def setting(server: EmbeddedServer, name: str) -> str:
    with psycopg.connect(server.dsn) as connection:
        row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert row is not None
    return str(row[0])


def socket_folder_of(server: EmbeddedServer) -> Path:
    return Path(str(psycopg.conninfo.conninfo_to_dict(server.dsn)["host"]))


def test_the_defaults_are_durable_and_private(server: EmbeddedServer) -> None:
    """G5: every commit is synced; nobody but the owner can reach the server."""
    assert setting(server, "fsync") == "on"
    assert setting(server, "synchronous_commit") == "on"
    assert setting(server, "full_page_writes") == "on"
    assert setting(server, "data_checksums") == "on"
    assert setting(server, "server_encoding") == "UTF8"
    assert setting(server, "listen_addresses") == ""
    assert server.version == int(setting(server, "server_version_num")) // 10_000

    socket_folder = Path(setting(server, "unix_socket_directories").strip('"'))
    assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
    assert not socket_folder.is_relative_to(server.data_path.parent)
    assert stat.S_IMODE(server.data_path.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.log_path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "name",
    ["with spaces and 'quotes\" and $HOME", "Ünïcödé 事件", "/".join(["long" * 20] * 5)],
)
def test_data_is_kept_between_runs_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    with EmbeddedServer.start(tmp_path / name) as server:
        with psycopg.connect(server.dsn) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'yes' AS answer")
        socket_folder = socket_folder_of(server)
    assert not socket_folder.exists()

    with (
        EmbeddedServer.start(str(tmp_path / name)) as server,
        psycopg.connect(server.dsn) as connection,
    ):
        assert connection.execute("SELECT answer FROM kept").fetchone() == ("yes",)


def test_settings_apply_and_a_bad_one_is_shown_with_the_reason(tmp_path: Path) -> None:
    prepare(tmp_path)
    with EmbeddedServer.start(tmp_path, settings={"max_connections": "7"}) as server:
        assert setting(server, "max_connections") == "7"
        socket_folder = socket_folder_of(server)
    with pytest.raises(StorageError, match=r"work_mem.*nonsense"):
        EmbeddedServer.start(tmp_path, settings={"work_mem": "nonsense"})
    assert not socket_folder.exists()
    with pytest.raises(ValueError, match="port"):
        EmbeddedServer.start(tmp_path, settings={"port": "1"})
    with pytest.raises(ValueError, match=r"timeout .* 0"):
        EmbeddedServer.start(tmp_path, timeout=0)


def test_a_large_log_is_cut_at_the_next_start(tmp_path: Path) -> None:
    prepare(tmp_path)
    (tmp_path / "server.log").write_bytes(b"x" * (LOG_LIMIT + 1))
    with EmbeddedServer.start(tmp_path) as server:
        assert server.log_path.stat().st_size < LOG_LIMIT
    assert (tmp_path / "server.log.1").stat().st_size == LOG_LIMIT + 1


@pytest.mark.parametrize(
    ("major", "message"), [("14", "15 to 18"), ("17", "install PostgreSQL 17")]
)
def test_data_of_another_major_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, major: str, message: str
) -> None:
    monkeypatch.setattr(binaries, "_SYSTEM", ())
    (tmp_path / "pgdata").mkdir()
    (tmp_path / "pgdata" / "PG_VERSION").write_text(f"{major}\n")
    with pytest.raises(StorageError, match=f"PostgreSQL {major}.*{message}"):
        EmbeddedServer.start(tmp_path)


def test_a_folder_that_is_used_otherwise_is_refused_and_not_touched(tmp_path: Path) -> None:
    (foreign := tmp_path / "foreign").mkdir()
    (foreign / "PG_VERSION").write_text("18\n")
    (photos := tmp_path / "photos" / "pgdata").mkdir(parents=True)
    (photos / "cat.png").write_bytes(b"")
    (file := tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="of another PostgreSQL server"):
        EmbeddedServer.start(foreign)
    with pytest.raises(StorageError, match="not a data folder"):
        EmbeddedServer.start(photos.parent)
    with pytest.raises(StorageError, match="file"):
        EmbeddedServer.start(file)
    with pytest.raises(ValueError, match="one line"):
        EmbeddedServer.start(tmp_path / "two\nlines")
    assert [each.name for each in foreign.iterdir()] == ["PG_VERSION"]
    assert [each.name for each in photos.iterdir()] == ["cat.png"]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with room for the path of a socket; that of pytest is long."""
    path = Path(tempfile.mkdtemp(prefix="es-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def test_a_socket_folder_of_somebody_else_is_not_used(tmp_path: Path, short_path: Path) -> None:
    """F51: the socket goes into the folder of the server then, if its path is short enough."""
    long_path = tmp_path / ("long" * 20)
    for path in (long_path, short_path):
        with EmbeddedServer.start(prepare(path)) as server:
            usual = socket_folder_of(server)
        usual.mkdir(mode=0o755)  # anybody could have put a socket of their own here
        try:
            if path == long_path:
                with pytest.raises(StorageError, match="not private"):
                    EmbeddedServer.start(path)
            else:
                with EmbeddedServer.start(path) as server:
                    assert socket_folder_of(server).parent == path
                    assert setting(server, "listen_addresses") == ""
        finally:
            usual.rmdir()


def test_a_start_in_a_private_working_folder_finds_its_own_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the server starts, the line of its socket folder is still empty: that is not "."."""
    tmp_path.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two", "three"):
        with EmbeddedServer.start(name) as server, psycopg.connect(server.dsn) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_half_written_pid_file_names_no_server(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.data.mkdir()
    (home.data / "postmaster.pid").write_text("17\n/data\n1700000000\n5432\n\n\n")
    assert home.postmaster() is None


def test_a_copied_folder_gets_a_server_of_its_own(tmp_path: Path) -> None:
    """The copy brings the original's postmaster.pid: it must not lead to the original's data."""
    with EmbeddedServer.start(prepare(tmp_path / "original")) as original:
        copy_pid = (original.data_path / "postmaster.pid").read_text()
        prepare(tmp_path / "copy")
        (tmp_path / "copy" / "pgdata" / "postmaster.pid").write_text(copy_pid)
        with EmbeddedServer.start(tmp_path / "copy") as copy:
            assert copy.pid != original.pid
            assert setting(copy, "data_directory") == str(copy.data_path)


def test_the_systems_postgresql_is_used_where_no_wheel_is_and_for_its_own_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not any(binaries._in_system()):
        pytest.skip("this machine has no PostgreSQL of its own")
    with monkeypatch.context() as without_wheel:
        without_wheel.setattr(binaries, "_WHEELS", ())
        with EmbeddedServer.start(tmp_path) as server:
            major = server.version
    with EmbeddedServer.start(tmp_path) as server:
        assert server.version == major


def test_without_any_postgresql_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "_WHEELS", ())
    monkeypatch.setattr(binaries, "_SYSTEM", ())
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(StorageError, match=r"pip install 'eventstore\[embedded\]'"):
        EmbeddedServer.start(tmp_path)
