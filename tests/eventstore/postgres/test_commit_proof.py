"""Each commit is as durable as promised, whatever session, role and database are set to."""

from __future__ import annotations

import pytest

from eventstore.ports.parking import Choice, ParkedPlace, Parking, Why
from eventstore.ports.stored_snapshots import EncodedSnapshot
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.append_session import PostgresAppendSession
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User
from tests.eventstore.postgres.conftest import Psql
from tests.support.bent import WAYS, As, in_the_dsn, set_in_sessions

TABLES = ("events", "snapshots", "subscriptions", "positions", "leases", "parked")

# A deferred trigger runs in the commit, and sees the settings that the commit has.
WITNESS = """
    CREATE TABLE {}.commits (tables text, level text);
    CREATE FUNCTION {}.bear_witness() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      EXECUTE format('INSERT INTO %I.commits VALUES ($1, $2)', TG_TABLE_SCHEMA)
        USING TG_TABLE_NAME, current_setting('synchronous_commit');
      RETURN NULL;
    END $$;
"""
ATTACH = """
    CREATE CONSTRAINT TRIGGER bear_witness AFTER INSERT OR UPDATE OR DELETE ON {}.TABLE
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {}.bear_witness()
"""


class Commits:
    """With which level of durability the store has committed."""

    def __init__(self, psql: Psql) -> None:
        self._psql = psql
        psql(WITNESS)
        for table in TABLES:
            psql(ATTACH.replace("TABLE", table))

    def levels(self) -> set[str]:
        """Return the levels of the commits since the last call."""
        return {level for (level,) in self._psql("DELETE FROM {}.commits RETURNING level")}


@pytest.fixture
def commits(storage: PostgresStorage, psql: Psql) -> Commits:
    return Commits(psql)


def change_everything(user: User) -> None:
    """Every call that commits something, at least once."""
    user.store("order-1", 2)
    user.storage.record_snapshot("order-1", 1, EncodedSnapshot("T", "json", b"1", None), soon())
    user.storage.delete_snapshot("order-1", "T", soon())
    owned = user.own()
    user.keep(owned.fence, 1)
    user.release(owned.fence, 2)
    user.storage.set_paused("$all", "shipping", paused=True, deadline=soon())
    user.storage.reset_subscription("$all", "shipping", 1, soon())
    user.storage.delete_subscription("$all", "shipping", soon())


@WAYS
@pytest.mark.parametrize("level", ["off", "local", "remote_write"])
def test_a_weaker_level_of_the_session_is_raised_for_each_commit(
    bent: As, commits: Commits, level: str
) -> None:
    """F30, G5: that an append, a checkpoint or a delete is done is never said too early."""
    user = bent("synchronous_commit", level)
    commits.levels()
    change_everything(user)
    assert commits.levels() == {"on"}


@WAYS
def test_a_stronger_level_of_the_session_is_kept(bent: As, commits: Commits) -> None:
    """F30, G5: who reads on a standby may want every commit to be visible there."""
    user = bent("synchronous_commit", "remote_apply")
    commits.levels()
    change_everything(user)
    assert commits.levels() == {"remote_apply"}


@pytest.mark.parametrize("bend", [in_the_dsn])
@pytest.mark.parametrize("level", ["off", "local", "remote_apply"])
def test_whoever_accepts_it_commits_with_the_level_of_the_session(
    bent: As, commits: Commits, level: str
) -> None:
    """F30: the setting that accepts less durability does what it says."""
    user = bent("synchronous_commit", level, unsafe=True)
    commits.levels()
    change_everything(user)
    assert commits.levels() == {level}


def test_the_removal_that_frees_a_key_is_on_the_disk(user: User, commits: Commits) -> None:
    """G38: its owner goes on with what comes after it; before, nobody needs to wait."""
    user.store("a", 2)
    owned = user.own()
    events = [ParkedPlace("a", position, position) for position in (1, 2)]
    parking = Parking(
        fence=owned.fence, checkpoint=2, events=events, why=Why("x"), follows=False, most=None
    )
    user.storage.park(parking, soon())
    choice = Choice(
        stream_id="$all",
        subscription_name="shipping",
        key=None,
        limit=None,
        skip_reason=None,
        dry_run=False,
    )
    user.storage.choose_parked(choice, soon())
    commits.levels()

    assert user.storage.unpark(owned.fence, {"a": 1}, (), soon()) == {"a"}
    assert commits.levels() == {"off"}
    assert user.storage.unpark(owned.fence, {"a": 2}, (), soon()) == set()
    assert commits.levels() == {"on"}


def test_the_level_of_the_session_is_there_again_after_the_commit(user: User) -> None:
    """F30, F31, G34: behind a pooler the session is lent to others next."""
    kept = {"synchronous_commit": "off", "client_min_messages": "error", "lock_timeout": "7ms"}
    for name, value in kept.items():
        set_in_sessions(user, f"SET {name} = '{value}'")
    user.store("order-1")
    session = user.appender
    assert isinstance(session, PostgresAppendSession)
    show = b"SELECT name, setting FROM pg_settings WHERE name = ANY (%s)"
    found = session._connection.run_once(lambda c: c.execute(show, (list(kept),), soon()), soon())
    assert dict(found) == {**kept, "lock_timeout": "7"}


def test_an_append_by_hand_is_durable_too(storage: PostgresStorage, psql: Psql) -> None:
    """F30, G5: the function proves it, not the library."""
    commits = Commits(psql)
    psql("SET synchronous_commit = off")
    psql(
        "SELECT * FROM {}.append_events(5000, false, ARRAY[1], ARRAY['s'], ARRAY[-1::bigint],"
        " ARRAY[1], NULL, ARRAY[1], ARRAY[1], ARRAY[gen_random_uuid()], ARRAY['T'],"
        " ARRAY['1'::bytea], NULL, NULL, NULL, NULL, NULL)"
    )
    assert psql("SELECT current_setting('synchronous_commit')") == [("off",)]
    assert "on" in commits.levels()


RAISE = """
    CREATE FUNCTION {}.warn() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE WARNING 'canceling wait for synchronous replication due to user request';
      RAISE WARNING 'database must be vacuumed within 1000 transactions' USING ERRCODE = '01000';
      RETURN NULL;
    END $$
"""


def test_a_warning_of_the_server_makes_no_append_doubtful(user: User, psql: Psql) -> None:
    """F32, G5: neither its class nor its text says that a standby may lack the append."""
    psql(RAISE)
    psql("CREATE TRIGGER warn AFTER INSERT ON {}.events EXECUTE FUNCTION {}.warn()")
    assert user.store("a").results[0].last_version == 1
