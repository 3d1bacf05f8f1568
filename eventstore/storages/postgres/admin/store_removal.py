"""Drops the objects of a store, and nothing else that lives in its schema."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from eventstore.model.errors import StorageError

__all__ = ["Dropped", "drop_objects"]

_CREATED = re.compile(
    r"""CREATE\s+(?P<kind>TABLE|VIEW|FUNCTION)\s+:"schema"\.(?P<name>\w+)"""
    r"""(?:\((?P<arguments>.*?)\)\s+(?:RETURNS|LANGUAGE))?""",
    re.DOTALL,
)
_DEFAULT = re.compile(r"\s+DEFAULT\s+\w+")

_KINDS = ("VIEW", "TABLE", "FUNCTION")
"""In this order none of ours depends on what is dropped before it."""

_CONTENTS = """
    SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend
     WHERE refclassid = 'pg_namespace'::regclass AND refobjid = to_regnamespace(%s)
       AND deptype = 'n' ORDER BY 1
"""
_MAY_DROP = """
    SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE oid = to_regnamespace(%s)
"""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A store was dropped."""

    others: tuple[str, ...]
    """What else is in the schema, which therefore stays. Empty: the schema is gone, too."""


def drop_objects(
    raw: psycopg.Connection[Any], schema: sql.Identifier, scripts: Iterable[str]
) -> Dropped:
    """Drop what *scripts* create in *schema*, in the transaction that is open.

    The schema itself is dropped if it is empty then, and ours.

    Raises:
        StorageError: Objects of others depend on the store. Nothing is dropped.
        psycopg.Error: As the driver raises it.
    """
    created = {kind: _created(kind, scripts) for kind in _KINDS}
    for kind, names in created.items():
        objects = sql.SQL(", ").join(schema + sql.SQL("." + name) for name in names)
        _drop(raw, sql.SQL("DROP {} IF EXISTS {}").format(sql.SQL(kind), objects))
    name = schema.as_string(raw)
    others = tuple(text for (text,) in raw.execute(_CONTENTS, [name]))
    if not others and raw.execute(_MAY_DROP, [name]).fetchone() == (True,):
        raw.execute(sql.SQL("DROP SCHEMA {}").format(schema))
    return Dropped(others)


def _created(kind: str, scripts: Iterable[str]) -> list[str]:
    """Return what *scripts* create of one kind; functions with the types of their arguments."""
    found = (match for script in scripts for match in _CREATED.finditer(script))
    return list(dict.fromkeys(_named(match) for match in found if match["kind"] == kind))


def _named(match: re.Match[str]) -> str:
    if match["kind"] != "FUNCTION":
        return match["name"]
    return f"{match['name']}({_DEFAULT.sub('', match['arguments'])})"


def _drop(raw: psycopg.Connection[Any], statement: sql.Composed) -> None:
    """Run *statement*, without CASCADE: a stranger's view of our tables is not ours to drop."""
    try:
        raw.execute(statement)
    except psycopg.errors.DependentObjectsStillExist as error:
        detail = " ".join((error.diag.message_detail or str(error)).split("\n"))
        raise StorageError(
            f"the store is not dropped, because others depend on it: {detail}; drop these first"
        ) from error
