"""A store in the memory of the process, with the semantics of the one in PostgreSQL.

For experiments and for fast tests of applications: nothing survives the process.
"""

from __future__ import annotations

from eventstore.storages.memory.memory_storage import MemoryStorage

__all__ = ["MemoryStorage"]
