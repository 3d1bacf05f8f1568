"""Locks between processes and threads (flock), which the kernel frees when their holder dies."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Self

from eventstore.embedded.own_files import open_own
from eventstore.model.errors import StorageUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from eventstore.embedded.deadline import Deadline

_open: set[FileLock] = set()


class FileLock:
    """A lock on a file. Instances exclude each other, also within one process.

    The lock belongs to the open file, which child processes may inherit. A forked child closes its
    copy at once, so that only the parent can release the lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = open_own(path, os.O_RDWR | os.O_CREAT)
        _open.add(self)

    @classmethod
    def exclusive(cls, path: Path, deadline: Deadline) -> Self:
        """Open *path* and wait for its lock.

        Raises:
            StorageUnavailableError: The deadline passed.
        """
        lock = cls(path)
        try:
            lock.wait_exclusive(deadline)
        except BaseException:
            lock.release()
            raise
        return lock

    @classmethod
    def shared(cls, path: Path) -> Self:
        lock = cls(path)
        try:
            fcntl.flock(lock.fd, fcntl.LOCK_SH)
        except BaseException:
            lock.release()
            raise
        return lock

    @property
    def is_open(self) -> bool:
        """The lock was neither released nor handed over, nor is this process a forked child."""
        return self.fd >= 0

    def try_exclusive(self) -> bool:
        """Take the exclusive lock without waiting.

        Returns:
            False if it is held elsewhere; a shared lock held here may be lost then.
        """
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def wait_exclusive(self, deadline: Deadline) -> None:
        while not self.try_exclusive():
            if not deadline.pause():
                raise StorageUnavailableError(
                    f"{self.path} is still held by another process after {deadline.timeout:g} s"
                )

    def release(self) -> None:
        """Release the lock, also for the processes that inherited it; idempotent."""
        if self.is_open:
            # Unlock before closing: a child between fork and exec still has the file open.
            fcntl.flock(self.fd, fcntl.LOCK_UN)
            self.hand_over()

    def hand_over(self) -> None:
        """Close the file here; the lock is then held by the processes that inherited it."""
        if self.is_open:
            fd, self.fd = self.fd, -1
            _open.discard(self)
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _forget_in_forked_child() -> None:
    for lock in tuple(_open):
        lock.hand_over()


os.register_at_fork(after_in_child=_forget_in_forked_child)
