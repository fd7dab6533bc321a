"""Hints how to install what is missing."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastconv import install


def test_in_a_source_folder():
    root = Path(install.__file__).resolve().parents[1]
    assert (root / "pyproject.toml").exists()
    assert install.install_command("bench") == f"pip install -e '{root}[bench]'"


@pytest.mark.parametrize(
    "text, command",
    [
        ('{"url": "file:///home/me/fastconv"}', "pip install 'fastconv[cuda] @ file:///home/me/fastconv'"),
        (None, "pip install 'fastconv[cuda]'"),
        ("not JSON", "pip install 'fastconv[cuda]'"),
    ],
)
def test_elsewhere(monkeypatch, tmp_path, text, command):
    monkeypatch.setattr(install, "__file__", str(tmp_path / "site-packages" / "fastconv" / "install.py"))
    monkeypatch.setattr(metadata, "distribution", lambda name: SimpleNamespace(read_text=lambda file: text))
    assert install.install_command("cuda") == command
