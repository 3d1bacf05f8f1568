"""Which subscriptions want to hear of which streams."""

from __future__ import annotations

from collections.abc import KeysView

from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import Ref

__all__ = ["Watchers"]


class Watchers:
    """References by stream; the dead ones are forgotten when they are told something."""

    def __init__(self) -> None:
        self._by_stream: dict[str, dict[str, Ref]] = {}

    @property
    def streams(self) -> KeysView[str]:
        """The streams that somebody watches, ``$all`` among them."""
        return self._by_stream.keys()

    def add(self, stream_id: str, watcher: Ref) -> None:
        self._by_stream.setdefault(stream_id, {})[watcher.actor_urn] = watcher

    def remove(self, stream_id: str, watcher: Ref) -> None:
        """Forget a watcher; harmless when repeated."""
        watchers = self._by_stream.get(stream_id, {})
        watchers.pop(watcher.actor_urn, None)
        if not watchers:
            self._by_stream.pop(stream_id, None)

    def tell(self, stream_id: str, message: object) -> None:
        """Tell everybody who watches *stream_id*."""
        for watcher in list(self._by_stream.get(stream_id, {}).values()):
            if not try_tell(watcher, message):
                self.remove(stream_id, watcher)

    def tell_all(self, message: object) -> None:
        """Tell everybody."""
        for stream_id in list(self._by_stream):
            self.tell(stream_id, message)
