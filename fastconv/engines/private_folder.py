"""A folder for compiled code that nobody else can write to.

Compiled code that is loaded is executed, so a folder or file that another user owns, or
could write, is never read: the kernels are compiled again and stay in memory.  All access
goes through the folder's descriptor, so the folder that was checked is the one used.

Any number of processes may use it at once: a file appears as a whole or not at all, and may
vanish at any time.  What was used longest ago goes first when the folder grows too large.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["PrivateFolder"]

_CHECKSUM = hashlib.sha256
# Seconds after which a file that was never finished is left over from a process that died.
ABANDONED = 3600


class PrivateFolder:
    """Named blobs on disk; reading and writing fail silently, for a cache is only a convenience.

    Parameters
    ----------
    path : Path
        It is made, readable by its owner alone, if it does not exist.
    limit : int
        Bytes of all files together.

    Attributes
    ----------
    path : Path
    problem : str
        Why the folder is not used; empty if it is.
    """

    def __init__(self, path: Path, limit: int):
        self.path, self.limit = path, limit
        self.problem = ""
        self._descriptor = -1
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except (OSError, AttributeError) as error:  # AttributeError: no O_DIRECTORY on this system
            self.problem = str(error)
            return
        if _is_private(os.fstat(descriptor)):
            self._descriptor = descriptor
        else:
            self.problem = "others own it or may write to it"
            os.close(descriptor)

    def read(self, name: str) -> bytes | None:
        """The blob, or None if it is missing, damaged or not ours alone."""
        if self.problem:
            return None
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._descriptor)
            with open(descriptor, "rb") as file:
                if not _is_private(os.fstat(descriptor)):
                    return None
                content = file.read()
                _mark_used(descriptor)
        except OSError:
            return None
        size = _CHECKSUM().digest_size
        checksum, blob = content[:size], content[size:]
        return blob if _CHECKSUM(blob).digest() == checksum else None

    def write(self, name: str, blob: bytes) -> None:
        """Store a blob at once or not at all: other processes see the whole file or none."""
        if self.problem:
            return
        draft = f".{name}.{secrets.token_hex(8)}"
        folder = self._descriptor
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600, dir_fd=folder)
            try:
                with open(descriptor, "wb") as file:
                    file.write(_CHECKSUM(blob).digest() + blob)
                os.replace(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                os.unlink(draft, dir_fd=folder)
            else:
                self._make_room()
        except OSError:
            pass  # read-only, full: the code stays in memory

    def sizes(self) -> dict[str, int]:
        """Bytes of each blob."""
        return {name: status.st_size for name, status in self._files().items() if not name.startswith(".")}

    def clear(self) -> None:
        """Delete every blob; processes that have loaded one keep it."""
        for name in self._files():
            self._delete(name)

    def _files(self) -> dict[str, os.stat_result]:
        found = {}
        if not self.problem:
            for name in os.listdir(self._descriptor):
                try:
                    found[name] = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
                except OSError:
                    continue  # another process deleted it
        return {name: status for name, status in found.items() if stat.S_ISREG(status.st_mode)}

    def _make_room(self) -> None:
        """Delete what was used longest ago until the rest fits, and drafts that nobody finishes."""
        files = self._files()
        room = self.limit - sum(status.st_size for status in files.values())
        for name, status in sorted(files.items(), key=lambda file: file[1].st_mtime_ns):
            abandoned = name.startswith(".") and status.st_mtime < time.time() - ABANDONED
            if abandoned or (room < 0 and not name.startswith(".")):
                self._delete(name)
                room += status.st_size

    def _delete(self, name: str) -> None:
        with suppress(OSError):  # another process deleted it, or the folder is read-only
            os.unlink(name, dir_fd=self._descriptor)


def _is_private(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _mark_used(descriptor: int) -> None:
    with suppress(OSError):  # read-only
        os.utime(descriptor)
