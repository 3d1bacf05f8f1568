"""All commands, in the order in which the help lists them."""

from __future__ import annotations

from eventstore.cli.append_command import APPEND
from eventstore.cli.database_commands import CREATE, DROP, INIT, MIGRATE
from eventstore.cli.delete_command import DELETE
from eventstore.cli.import_command import IMPORT
from eventstore.cli.parked_commands import PARKED
from eventstore.cli.projection_commands import PROJECTIONS
from eventstore.cli.read_commands import FIND, READ, STATUS, STREAMS, TAIL
from eventstore.cli.snapshot_commands import SNAPSHOTS
from eventstore.cli.subscription_commands import SUBSCRIPTIONS
from eventstore.cli.verify_command import VERIFY

__all__ = ["COMMANDS"]

COMMANDS = (
    CREATE,
    INIT,
    MIGRATE,
    DROP,
    STATUS,
    VERIFY,
    STREAMS,
    READ,
    FIND,
    TAIL,
    APPEND,
    IMPORT,
    DELETE,
    SUBSCRIPTIONS,
    PARKED,
    PROJECTIONS,
    SNAPSHOTS,
)
