"""Every example runs, on its own, and writes its picture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import fastconv

ROOT = Path(fastconv.__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(script: Path, tmp_path: Path):
    target = tmp_path / "picture.png"
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", str(script), str(target)]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=120, env={"PYTHONPATH": str(ROOT), "PATH": ""})
    with Image.open(target) as picture:
        assert min(picture.size) > 200 and len(picture.convert("RGB").getcolors(2**24)) > 100


def test_there_are_examples():
    assert EXAMPLES
