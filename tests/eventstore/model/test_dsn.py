"""What is shown of a connection string: nothing of a password, wherever it is and ends."""

from __future__ import annotations

import re
import traceback
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventstore import Config
from eventstore.cli.failures import reason
from eventstore.model.dsn import masked, misplaced_at, scrubbed
from eventstore.storages.postgres import PostgresStorage

SECRETS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=3)

REST = "user=me host=127.0.0.1 port=1 dbname=d"


def as_pairs(secret: str) -> str:
    quoted = secret.replace("\\", "\\\\").replace("'", "\\'")
    return f"{REST} password='{quoted}'"


def as_bare_pairs(secret: str) -> str:
    return f"password={secret} {REST}"


def as_url(secret: str) -> str:
    return f"postgresql://me:{quote(secret, safe='')}@127.0.0.1:1/d"


def as_bare_url(secret: str) -> str:
    return f"postgres://me:{secret}@127.0.0.1:1/d"


def as_query(secret: str) -> str:
    return f"postgresql://127.0.0.1:1/d?user=me&password={quote(secret, safe='')}"


def texts(dsn: str) -> list[str]:
    """Return what is said about *dsn* wherever it can be shown, also if it is refused."""
    said = [masked(dsn)]
    try:
        config = Config(dsn)
        said += [repr(config), repr(Config("memory:", listen_dsn=dsn))]
        storage = PostgresStorage(config)
        said += [repr(storage), repr(storage._connector)]
        storage.close()
    except ValueError as error:
        said += [reason(error), *traceback.format_exception(error)[-1:], repr(error.__cause__)]
        said += [] if error.__suppress_context__ else [repr(error.__context__)]
    return said


def pieces(secret: str, beside: str) -> set[str]:
    """Return the parts of *secret*, three characters long, that nothing else in the DSN has."""
    found = {secret[i : i + 3] for i in range(len(secret) - 2)}
    found |= {quote(piece, safe="") for piece in found if piece.isascii()}
    return {piece for piece in found if piece not in beside}


HARMLESS = (
    f"{REST} password=*** postgresql://me:***@127.0.0.1:1/d?user=me&password=*** memory: "
    "cannot read PostgresStorage None Connector postgres ValueError object at 0x0123456789abcdef postgresql://***"
    f"{Config('memory:', listen_dsn='x')!r} "
    "dsn cannot be used: an option has a value that libpq does not know, or no service file has its"
    " service port must be 1 to 65535 host must not contain '@'; write '%40' in a password"
    " there are values of for servers"
    " listen_dsn is no libpq connection string; it looks like"
    " postgresql://user@host/database or host=..."
    " dsn has more than one '@' before its options, or one in its path: write '%40' for '@' and"
    " '%2F' for '/' in a password dsn must be text without NUL, not empty"
    " eventstore.storages.postgres.connecting.connector.Connector"
    " eventstore.storages.postgres.postgres_storage.PostgresStorage"
)


@pytest.mark.parametrize("form", [as_pairs, as_bare_pairs, as_url, as_bare_url, as_query])
@given(secret=SECRETS)
@example(secret="xa&bcd")
@example(secret="qq@wxyz")
@example(secret="it's \\ a 'quoted' one")
@example(secret="qqq/wxyz")
@example(secret="qqq?wxyz=vvv")
@example(secret="qqq wxyz=vvv")
@example(secret="qqq%zzwxyz")
@example(secret="qqq\nwxyz")
@example(secret="77 777")
@example(secret="qqq#wxyz")
@example(secret="ÄÖÜ漢字")
@example(secret="qqq,wxyz:vvvv")
@example(secret="0,/")
@example(secret="***")
@example(secret="77/7")
@example(secret="7,7?777")
def test_no_piece_of_a_password_is_in_any_text(form: object, secret: str) -> None:
    """F39, G25: well written or not, as pairs or as a URL."""
    assert callable(form)
    for text in [*texts(form(secret)), scrubbed(f"cannot read {form(secret)}")]:
        shown = re.sub(r"at 0x[0-9a-f]+", "", text)  # where an object happens to be
        assert not [piece for piece in pieces(secret, HARMLESS) if piece in shown], text


@pytest.mark.parametrize(
    "option", ["password", "sslpassword", "passfile", "sslkey", "options", "oauth_client_secret"]
)
def test_no_secret_of_another_option_is_shown(option: str) -> None:
    """F39: nor a path to one, nor a setting that may be one."""
    for dsn in (f"host=h {option}=hunter2 dbname=d", f"postgresql://h/d?{option}=hunter2"):
        assert "hunter2" not in masked(dsn)
        assert masked(dsn) != dsn


@pytest.mark.parametrize(
    "dsn",
    [
        "service='postgresql://me:hunter2@h/d'",
        "dbname='postgresql://me:hunter2@h/d'",
        "dbname='password=hunter2'",
        "application_name='password=hunter2'",
        "postgresql://me:hunter2",
        "postgresql://me:4321/hunter2@h/d",
        "host=hunter2@h",
    ],
)
def test_no_option_carries_another_connection_string_into_the_light(dsn: str) -> None:
    """F39: what a typing error makes of a password is not shown either."""
    for text in texts(dsn):
        assert "hunter2" not in text


@pytest.mark.parametrize(
    "dsn",
    [
        "memory:",
        "embedded:./shop",
        "postgresql:///shop",
        "postgresql://h:5432/d",
        "postgresql://me@a:1,b:2/d?target_session_attrs=read-write",
        "host=/run/postgresql dbname=shop user=me",
    ],
)
def test_what_holds_no_secret_is_shown_as_it_is(dsn: str) -> None:
    assert masked(dsn) == dsn


def test_the_rest_is_shown_beside_a_secret() -> None:
    assert masked("host=h PASSWORD=x") == "***"
    assert masked("host=h password = 'x y' dbname=d") == "host=h password=*** dbname=d"
    assert masked("postgresql://me:x@a:1,b:2/d?sslmode=require&options=x") == (
        "postgresql://me:***@a:1,b:2/d?options=***&sslmode=require"
    )


@pytest.mark.parametrize(
    ("dsn", "misplaced"),
    [
        ("postgresql://me:x@h/d", False),
        ("postgresql://me:x@h/d?user=a@b", False),
        ("postgresql://me:x@h?user=a@b", False),
        ("postgresql:///d?user=a@b", False),
        ("host=h user=me@h", False),
        ("postgresql://me:x@y@h/d", True),
        ("postgres://me:x/y@h/d", True),
        ("postgresql://me@h/d@e", True),
    ],
)
def test_an_at_sign_that_ends_no_password_is_found(dsn: str, misplaced: bool) -> None:
    """F39: libpq would take a piece of the password for the host or the database."""
    assert misplaced_at(dsn) is misplaced


@pytest.mark.parametrize("field", ["dsn", "listen_dsn"])
def test_a_misplaced_at_sign_is_refused_by_name(field: str) -> None:
    """F39."""
    with pytest.raises(ValueError, match=rf"^{field} has more than one '@'.*'%40'"):
        replace(Config("memory:"), **{field: "postgresql://me:x@y@h/d"})  # type: ignore[arg-type]


def test_the_words_of_others_are_cut_where_a_secret_begins() -> None:
    """F39."""
    assert scrubbed("no user: host=h password = x y") == "no user: host=h password =***"
    assert scrubbed("see PGPASSWORD=hunter2") == "see PGPASSWORD=***"
    assert scrubbed("bad postgres://me:hunter2@h") == "bad postgres://***"
    for harmless in (
        "no password supplied",
        'password authentication failed for user "x"',
        "use postgresql:///shop or embedded:./shop",
    ):
        assert scrubbed(harmless) == harmless
