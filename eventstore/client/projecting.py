"""Create, switch, rebuild and drop versions of projections, and follow their progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from eventstore.client.awaiting import wait_for_checkpoint
from eventstore.client.caller_runtime import CallerRuntime
from eventstore.model.checks import check_bool, check_duration, check_timeout, shown
from eventstore.model.errors import (
    DeliveryTimeoutError,
    NotRunningError,
    ProjectionError,
    ProjectionNotFoundError,
    SubscriptionNotFoundError,
)
from eventstore.model.names import ALL_STREAMS, check_name
from eventstore.model.plain_functions import is_coroutine_function, is_promise, withdraw
from eventstore.model.projection import (
    Change,
    Projection,
    ProjectionInfo,
    check_version,
    subscription_of,
)
from eventstore.ports.projections import (
    Created,
    Dropped,
    Rebuilt,
    StoredProjection,
    Switched,
    VersionChange,
)
from eventstore.ports.runtime import Runtime
from eventstore.ports.waits import BLOCKING, Waits, run_blocking

__all__ = ["Projecting"]


class _Chosen(NamedTuple):
    """A version, and its functions if they are known here."""

    name: str
    version: int
    projection: Projection | None

    @property
    def subscription_name(self) -> str:
        return subscription_of(self.name, self.version)


@dataclass(frozen=True, slots=True)
class Projecting:
    """The calls of a store that are about projections."""

    running: Callable[[], Runtime]
    waits: Waits
    _known: dict[tuple[str, int], Projection] = field(default_factory=dict)
    """Those that this store was given to run."""

    async def create(self, projection: Projection) -> int | None:
        """Create the tables of a version unless that was done; see `EventStore.project`.

        Returns:
            Its subscription, which began together with the tables.
        """
        chosen = self._given(projection)
        runtime = self.running()
        if isinstance(runtime, CallerRuntime):
            raise NotRunningError(
                f"{projection!r} needs a runtime with actors; CallerRuntime appends and reads only"
            )

        async def decide(stored: StoredProjection, connection: Any) -> VersionChange | None:
            if stored.is_there:
                _check_subscribed(chosen, stored)
                return None
            await _call(projection.create, connection)
            is_first = not stored.has_versions
            if is_first:
                await _call(projection.switch, connection)
            return Created(projection.options, is_first)

        found = await self._change(chosen, decide)
        self._known[projection.name, projection.version] = projection
        return found

    async def switch(
        self, which: Projection | str, version: int | None, *, force: bool, timeout: float
    ) -> None:
        """Lead readers to a version; see `EventStore.switch_projection`."""
        chosen = self._chosen(which, version)
        timeout = check_timeout("timeout", timeout)
        projection = _with_functions(chosen, "switch_projection")
        least, why = 0, ""
        if not check_bool("force", force):
            if await self._is_current(chosen):
                return
            least, why = await self._caught_up(chosen, timeout)

        async def decide(stored: StoredProjection, connection: Any) -> VersionChange | None:
            _check_there(chosen, stored)
            if stored.is_current:
                return None
            checkpoint = _check_subscribed(chosen, stored)
            if not force:
                _check_caught_up(chosen, checkpoint, least, why)
            await _call(projection.switch, connection)
            return Switched()

        await self._change(chosen, decide)

    async def rebuild(self, which: Projection | str, version: int | None, *, force: bool) -> None:
        """Have a version handle everything again; see `EventStore.rebuild_projection`."""
        chosen = self._chosen(which, version)
        check_bool("force", force)
        projection = _with_functions(chosen, "rebuild_projection")
        if projection.drop is None:
            raise ValueError(
                f"{projection!r} needs drop for a rebuild: its tables must be empty before each"
                " event counts again"
            )

        async def decide(stored: StoredProjection, connection: Any) -> VersionChange:
            _check_there(chosen, stored)
            _check_free(chosen, stored, "would be rebuilt under its readers", force=force)
            await _call(projection.drop, connection)
            await _call(projection.create, connection)
            if stored.is_current:
                await _call(projection.switch, connection)
            return Rebuilt(projection.options)

        await self._change(chosen, decide, alone=True)

    async def drop(self, which: Projection | str, version: int | None, *, force: bool) -> None:
        """Forget a version; see `EventStore.drop_projection`."""
        chosen = self._chosen(which, version)
        check_bool("force", force)

        async def decide(stored: StoredProjection, connection: Any) -> VersionChange:
            _check_there(chosen, stored)
            _check_free(chosen, stored, "has readers", force=force)
            if chosen.projection is not None:
                await _call(chosen.projection.drop, connection)
            return Dropped()

        await self._change(chosen, decide, alone=True)
        self._known.pop((chosen.name, chosen.version), None)
        with suppress(SubscriptionNotFoundError):  # it does not run here, or has heard of it
            await self.waits.call(self.running().unsubscribe, ALL_STREAMS, chosen.subscription_name)

    async def listed(self, over: float | None) -> list[ProjectionInfo]:
        """Return every version of every projection; see `EventStore.projections`."""
        if over is not None:
            over = check_duration("over", over)
        first, since = await self._look(), time.monotonic()
        if over is None:
            return first
        await self.waits.pause(over)
        second = await self._look()
        return _with_rates(first, second, time.monotonic() - since)

    async def _is_current(self, chosen: _Chosen) -> bool:
        wanted = chosen.name, chosen.version
        infos = await self._look()
        return any(info.is_current and (info.name, info.version) == wanted for info in infos)

    async def _look(self) -> list[ProjectionInfo]:
        return await self.waits.call(self.running().storage.projections, self._deadline())

    def _deadline(self) -> float:
        return time.monotonic() + self.running().config.connect_timeout

    def _given(self, projection: Projection) -> _Chosen:
        if not isinstance(projection, Projection):
            raise TypeError(f"projection must be a Projection: {shown(projection)}")
        if projection.is_for_loops and self.waits is BLOCKING:
            raise TypeError(
                f"{projection!r} has coroutine functions, which AsyncEventStore alone can call"
            )
        return _Chosen(projection.name, projection.version, projection)

    def _chosen(self, which: Projection | str, version: int | None) -> _Chosen:
        if not isinstance(which, str):
            if version is not None:
                raise TypeError(f"version is that of the Projection: {shown(version)}")
            return self._given(which)
        name, number = check_name("which", which), check_version(version)
        return _Chosen(name, number, self._known.get((name, number)))

    async def _caught_up(self, chosen: _Chosen, timeout: float) -> tuple[int, str]:
        """Wait until a version is as far as the store is now. Return the position, and why not.

        The stored checkpoint counts, as it does in the transaction of the change.
        """
        runtime = self.running()
        storage = runtime.storage
        head = await self.waits.call(storage.stream_info, ALL_STREAMS, self._deadline())
        try:
            await wait_for_checkpoint(
                storage,
                ALL_STREAMS,
                chosen.subscription_name,
                head.stream_version,
                timeout=timeout,
                patience=runtime.config.connect_timeout,
                longest_pause=runtime.config.poll_interval,
                waits=self.waits,
            )
        except DeliveryTimeoutError as error:
            return head.stream_version, f": {error}"
        except SubscriptionNotFoundError:  # what is stored of the version says why
            pass
        return head.stream_version, ""

    def _waits_of(self, chosen: _Chosen) -> Waits:
        """Return how the functions of a version wait: plain ones block a thread."""
        is_for_loops = chosen.projection is not None and chosen.projection.is_for_loops
        return self.waits if is_for_loops else BLOCKING

    async def _change(
        self,
        chosen: _Chosen,
        decide: Callable[[StoredProjection, Any], Any],
        *,
        alone: bool = False,
    ) -> int | None:
        """Change a version in one transaction, on the loop or in a thread, as its functions ask."""
        runtime, waits = self.running(), self._waits_of(chosen)
        idle, deadline = runtime.config.lease, self._deadline()
        changing = runtime.storage.change_projection(
            chosen.name, chosen.version, decide, idle, deadline, waits, alone=alone
        )
        if waits is self.waits:
            return await changing
        return await self.waits.call(run_blocking, changing)


async def _call(function: Change | None, connection: Any) -> None:
    """Call a function of the application, if it gave one."""
    if function is None:
        return
    returned: Any = function(connection)
    if is_coroutine_function(function):
        returned = await returned
    if is_promise(returned):
        withdraw(returned)
        raise TypeError(f"{shown(function)} returned what nobody runs: {shown(returned)}")


def _with_functions(chosen: _Chosen, method: str) -> Projection:
    if chosen.projection is None:
        raise ValueError(
            f"this store does not know the functions of projection {chosen.name!r} version"
            f" {chosen.version}: give {method} the Projection itself"
        )
    return chosen.projection


def _check_there(chosen: _Chosen, stored: StoredProjection) -> None:
    if not stored.is_there:
        raise ProjectionNotFoundError(chosen.name, chosen.version)


def _check_subscribed(chosen: _Chosen, stored: StoredProjection) -> int:
    """Return the checkpoint of a version.

    Raises:
        ProjectionError: It has none.
    """
    if stored.checkpoint is None:
        raise _refused(
            chosen,
            f"has no subscription {chosen.subscription_name!r} any more, so nobody knows which"
            " events are in its tables: rebuild it or drop it",
        )
    return stored.checkpoint


def _check_caught_up(chosen: _Chosen, checkpoint: int, least: int, why: str) -> None:
    if checkpoint < least:
        raise _refused(chosen, f"has not caught up: it is at {checkpoint:,} of {least:,}{why}")


def _check_free(chosen: _Chosen, stored: StoredProjection, why: str, *, force: bool) -> None:
    if stored.is_current and not force:
        raise _refused(chosen, f"is the current one and {why}: switch to another one, or force it")


def _refused(chosen: _Chosen, why: str) -> ProjectionError:
    message = f"projection {chosen.name!r} version {chosen.version} {why}"
    return ProjectionError(message, chosen.name, chosen.version)


def _with_rates(
    first: list[ProjectionInfo], second: list[ProjectionInfo], seconds: float
) -> list[ProjectionInfo]:
    """Return *second* with what each version has moved since *first*."""
    before = {(info.name, info.version): info.position for info in first}
    return [
        replace(info, rate=max(0, info.position - before[info.name, info.version]) / seconds)
        if (info.name, info.version) in before
        else info
        for info in second
    ]
