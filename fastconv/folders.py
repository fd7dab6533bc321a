"""Where things are kept from process to process."""

from __future__ import annotations

import os
import sys

__all__ = ["cache"]


def cache() -> str:
    """``FASTCONV_CACHE_DIR``, or the folder of this library among the user's caches."""
    given = os.environ.get("FASTCONV_CACHE_DIR")
    if given:
        return os.path.expanduser(given)
    if sys.platform == "linux":  # the same as platformdirs says, which takes 2 ms of a process's first call
        return os.path.join(os.environ.get("XDG_CACHE_HOME", "").strip() or os.path.expanduser("~/.cache"), "fastconv")
    import platformdirs

    return platformdirs.user_cache_dir("fastconv", appauthor=False)
