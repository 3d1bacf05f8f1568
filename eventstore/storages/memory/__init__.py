"""The storage port in the memory of the process, with the semantics of PostgreSQL's.

It serves experiments and fast tests of applications. Nothing survives the process.
"""

from __future__ import annotations

from eventstore.storages.memory.memory_storage import MemoryStorage

__all__ = ["MemoryStorage"]
