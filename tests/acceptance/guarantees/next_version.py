"""A service, or a migration, of code that knows one schema version more than what is installed.

Takes the arguments of `tests.support.service`, and which migration leads to that version.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import eventstore.storages.postgres.postgres_storage
from eventstore import CallerRuntime, Config, EventStore, EventStoreError
from eventstore.storages.postgres.admin.store_schema import SchemaScripts, StoreSchema
from tests.eventstore.postgres.test_schema_version import MIGRATION, NEXT
from tests.support.service import main as serve

MIGRATIONS = {
    "additive": MIGRATION,
    "incompatible": MIGRATION.replace("VALUES (2, 1)", "VALUES (2, 2)"),
    # Has what every append needs before it has to wait for the rest.
    "greedy": f'LOCK TABLE :"schema".events IN ACCESS EXCLUSIVE MODE; {MIGRATION}',
}


def believe_in(scripts: SchemaScripts) -> None:
    """Let every storage of this process expect the newest version of *scripts*."""
    expecting: Any = partial(StoreSchema, scripts=scripts)
    vars(eventstore.storages.postgres.postgres_storage)["StoreSchema"] = expecting


def migrate(settings: dict[str, Any]) -> None:
    """Bring the store to this version, as ``eventstore migrate`` does."""
    try:
        EventStore.connect(Config(**settings), runtime=CallerRuntime, init=True).close()
    except EventStoreError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    believe_in(replace(NEXT, migrations=((2, MIGRATIONS[settings.pop("migration")]),)))
    if sys.argv[2] == "migrate":
        migrate(settings)
    else:
        serve(settings, sys.argv[2])
