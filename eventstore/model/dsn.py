"""What may be shown of a connection string. libpq alone takes it apart.

A password may contain anything, so no expression can find its end; and a typing error may make a
piece of it a host or a port. Shown is what is known to be harmless.
"""

from __future__ import annotations

import re
from itertools import zip_longest

__all__ = ["HIDDEN", "masked", "misplaced_at", "scrubbed"]

HIDDEN = "***"

_OTHER_TARGETS = ("memory:", "embedded:")

_HARMLESS = {
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssencmode",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "port",
    "service",
    "sslmode",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
}
"""Options whose values are shown. Others may be secrets, or lead to them: ``passfile``,
``options``, and those that later versions of libpq add."""

_ODD = re.compile(r"://|[=@\s]")
"""What no harmless value contains, except that a user may contain an ``@``."""

_SECRET = re.compile(
    r"(postgres(?:ql)?://(?=\S*:|.*:.*@)|password\s*=).*",
    re.IGNORECASE | re.DOTALL,
)


def masked(dsn: str) -> str:
    """Return *dsn* as it is if it holds no secret, else its harmless options.

    Nothing is shown of what libpq cannot parse, or of a URL with an ``@`` where none belongs.
    """
    if dsn.startswith(_OTHER_TARGETS):
        return dsn
    given = _parsed(dsn)
    if given is None or misplaced_at(dsn):
        return HIDDEN
    harmless = {name: value for name, value in given.items() if _is_harmless(name, value)}
    if harmless == given:
        return dsn
    shown = dict.fromkeys(given, HIDDEN) | harmless
    if "://" in dsn:
        return _url(shown)
    return " ".join(f"{name}={shown[name]}" for name in sorted(shown, key=dsn.lower().find))


def scrubbed(text: str) -> str:
    """Return the words of somebody else without the end that begins with a secret.

    Nobody is known to put one there. Where it would end is not known either.
    """
    return _SECRET.sub(lambda found: f"{found[1]}{HIDDEN}", text)


def misplaced_at(dsn: str) -> bool:
    """Return whether a URL has an ``@`` that does not end the password for libpq.

    Then a password has an unescaped ``@`` or ``/``, and libpq takes a piece of it for the host,
    the port or the database.
    """
    scheme, is_url, rest = dsn.partition("://")
    if not is_url or scheme not in {"postgresql", "postgres"}:
        return False
    authority, _, path = rest.partition("/")
    server = authority.partition("@")[2]
    return "@" in server.partition("?")[0] or "@" in path.partition("?")[0]


def _url(shown: dict[str, str]) -> str:
    """Return the options as a URL."""
    rest = dict(shown)
    user = rest.pop("user", "") + (f":{HIDDEN}" if rest.pop("password", None) else "")
    hosts = rest.pop("host", "").split(",")
    ports = rest.pop("port", "").split(",")
    servers = ",".join(
        host + (f":{port}" if port else "")
        for host, port in zip_longest(hosts, ports, fillvalue="")
    )
    database = rest.pop("dbname", "")
    url = f"postgresql://{user}{'@' if user else ''}{servers}/{database}"
    return url + ("?" if rest else "") + "&".join(f"{name}={rest[name]}" for name in rest)


def _is_harmless(name: str, value: str) -> bool:
    if name not in _HARMLESS:
        return False
    if name == "port":
        return value.replace(",", "").isdecimal()
    return _ODD.search(value.replace("@", "", 1) if name == "user" else value) is None


def _parsed(dsn: str) -> dict[str, str] | None:
    """Return the options of *dsn*; None if it is no connection string."""
    try:
        from psycopg import pq

        options = pq.Conninfo.parse(dsn.encode())
        return {o.keyword.decode(): o.val.decode() for o in options if o.val is not None}
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is not shown
        return None
