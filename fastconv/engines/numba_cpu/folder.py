"""A folder for compiled code that nobody else can write to.

Compiled code that is loaded is executed, so a folder or file that another user owns, or
could write, is never read: the kernels are compiled again and stay in memory.  All access
goes through the folder's descriptor, so the folder that was checked is the one used.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from pathlib import Path

__all__ = ["PrivateFolder"]

_CHECKSUM = hashlib.sha256


class PrivateFolder:
    """Named blobs on disk; reading and writing fail silently, for a cache is only a convenience.

    Attributes
    ----------
    path : Path
    problem : str
        Why the folder is not used; empty if it is.
    """

    def __init__(self, path: Path):
        self.path = path
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
        except OSError:
            pass  # read-only, full: the code stays in memory


def _is_private(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
