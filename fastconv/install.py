"""How to install what an optional part of fastconv needs."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

__all__ = ["install_command"]


def install_command(extra: str) -> str:
    """The command that installs an extra: from the source folder that fastconv runs in or came from, if there is one."""
    folder = Path(__file__).resolve().parents[1]
    if (folder / "pyproject.toml").is_file():
        return f"pip install -e '{folder}[{extra}]'"
    try:
        origin = json.loads(metadata.distribution("fastconv").read_text("direct_url.json") or "{}").get("url", "")
    except (metadata.PackageNotFoundError, ValueError):
        origin = ""
    if origin:
        return f"pip install 'fastconv[{extra}] @ {origin}'"
    return f"pip install 'fastconv[{extra}]'"
