"""The part of the storage port for projections: a store in memory has no tables to write to."""

from __future__ import annotations

from typing import NoReturn

from eventstore.model.projection import ProjectionInfo
from eventstore.ports.projections import Decide
from eventstore.ports.waits import Waits

__all__ = ["NoProjections"]


class NoProjections:
    """Refuses to change projections; see `Projects`."""

    def projections(self, deadline: float) -> list[ProjectionInfo]:  # noqa: ARG002 - never waits
        """Return none: there is none."""
        return []

    async def change_projection(
        self,
        name: str,
        version: int,  # noqa: ARG002 - the same for every storage
        decide: Decide,  # noqa: ARG002
        idle: float,  # noqa: ARG002
        deadline: float,  # noqa: ARG002
        waits: Waits,  # noqa: ARG002
        *,
        alone: bool,  # noqa: ARG002
    ) -> NoReturn:
        """Refuse: here are no transactions that its functions could write in."""
        raise ValueError(
            f"projections need a store in PostgreSQL, and dsn is 'memory:': projection {name!r}"
        )
