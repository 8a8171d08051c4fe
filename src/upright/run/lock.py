"""A lock on a run folder that dies with the process that holds it."""

import errno
import fcntl
import os
from pathlib import Path

from upright.errors import UserError

NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}  # some network file systems


class FolderLock:
    """Keeps two processes from writing one folder. Where the system has no such locks it lets everyone in."""

    NAME = ".lock"

    def __init__(self, folder: Path) -> None:
        self._path = folder / self.NAME
        self._handle: int | None = None

    def take(self) -> None:
        """Take the lock. Raises UserError when another process holds it."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise UserError(
                f"{self._path.parent}: another process is writing this run; wait for it or stop it"
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS_HERE:
                os.close(handle)
                raise
        self._handle = handle

    def release(self) -> None:
        """Give the lock back."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def held(self) -> bool:
        """Whether another process is writing the folder now."""
        if not self._path.exists():
            return False
        try:
            self.take()
        except UserError:
            return True
        self.release()
        return False
