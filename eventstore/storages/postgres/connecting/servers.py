"""The servers that a connection string leads to, as libpq reads it. Connects to none of them.

libpq alone knows what a service file, the environment and its own defaults add to the string.
"""

from __future__ import annotations

import ipaddress
import random
import socket
from dataclasses import dataclass, replace

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

__all__ = ["Server", "addresses", "check", "options", "servers"]

_LAST_PORT = 65_535

_STOPPED = "?"
"""A value that libpq refuses after it has read everything, and before it connects."""

_NO_SERVER = {"host": "/dev/null", "hostaddr": "", "port": "5432"}
"""A place where no server can be: this is a file, and sockets are in folders."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server of a connection string, or one address of it."""

    host: str
    """A name, an address, or the folder of a socket; empty: libpq's default."""
    hostaddr: str
    port: str
    in_random_order: bool = False
    """Whether its addresses are tried in random order, as libpq's ``load_balance_hosts`` says."""

    def within(self, conninfo: str) -> str:
        """Return *conninfo*, leading to this server alone."""
        return make_conninfo(conninfo, host=self.host, hostaddr=self.hostaddr, port=self.port)


def check(conninfo: str) -> None:
    """Check that libpq can use *conninfo*, which it can parse.

    Raises:
        ValueError: A value is none that libpq knows, the service is not defined, or there are not
            as many ports as hosts. No value is shown: a typing error may take a piece of a
            password to anywhere.
    """
    if pq.PGconn.ping(make_conninfo(conninfo, **_NO_SERVER).encode()) == pq.Ping.NO_ATTEMPT:
        raise ValueError(
            "an option has a value that libpq does not know, or no service file has its service"
        )
    for server in servers(conninfo):
        if not (server.port.isdecimal() and 1 <= int(server.port) <= _LAST_PORT):
            raise ValueError(f"port must be 1 to {_LAST_PORT}")
        # A socket without a folder begins with one.
        if "@" in server.host[1:]:
            raise ValueError("host must not contain '@'; write '%40' in a password")


def options(conninfo: str) -> dict[str, str]:
    """Return every option that libpq uses for *conninfo*; its parser reads no service file."""
    unused = pq.PGconn.connect_start(make_conninfo(conninfo, channel_binding=_STOPPED).encode())
    try:
        return {o.keyword.decode(): o.val.decode(errors="replace") for o in unused.info if o.val}
    finally:
        unused.finish()


def servers(conninfo: str) -> list[Server]:
    """Return the servers of *conninfo*, in the order in which to try them.

    Raises:
        ValueError: There are not as many hosts, addresses and ports.
    """
    given = options(conninfo)
    hosts, hostaddrs, ports = (
        given.get(name, "").split(",") for name in ("host", "hostaddr", "port")
    )
    count = max(len(hosts), len(hostaddrs))
    balanced = given.get("load_balance_hosts") == "random"
    found = [
        Server(host, hostaddr, port or "5432", balanced)
        for host, hostaddr, port in zip(
            _filled("host", hosts, count),
            _filled("hostaddr", hostaddrs, count),
            _filled("port", ports, count),
            strict=True,
        )
    ]
    if balanced:
        random.shuffle(found)
    return found


def addresses(server: Server) -> list[Server]:
    """Return *server* once for each address of its name. May block for as long as a resolver does.

    Raises:
        psycopg.OperationalError: The name has no address now.
    """
    if server.hostaddr or not server.host or server.host.startswith(("/", "@")):
        return [server]
    if _is_address(server.host):
        return [replace(server, hostaddr=server.host)]
    try:
        found = socket.getaddrinfo(server.host, int(server.port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise psycopg.OperationalError(f"no address of {server.host!r}: {error}") from None
    if server.in_random_order:
        random.shuffle(found)
    return [replace(server, hostaddr=str(place[4][0])) for place in found]


def _filled(name: str, values: list[str], count: int) -> list[str]:
    if len(values) == count:
        return values
    # One port is for all servers; an option that is not given is one empty value.
    if len(values) == 1 and (name == "port" or not values[0]):
        return values * count
    raise ValueError(f"there are {len(values)} values of {name} for {count} servers")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
