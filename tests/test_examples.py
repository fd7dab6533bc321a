"""Every example runs, on its own, says what it found, and leaves its pictures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import fastconv

ROOT = Path(fastconv.__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# What each prints, and the pictures that it leaves.
PICTURES = {
    "plot_kernels": ["kernels.png"],
    "plot_filter_bank": ["filter_bank_weights.png", "filter_bank_maps.png", "filter_bank_activations.png"],
    "plot_learned_sobel": ["learned_sobel_loss.png", "learned_sobel_coins.png"],
    "plot_convolution_laboratory": ["laboratory_sizes.png", "laboratory_line.png", "laboratory_padding.png"],
    "plot_tensorflow_style": ["tensorflow_filters.png", "tensorflow_pooling.png"],
    "plot_correlation_animated": ["correlation.gif", "correlation_found.png", "letter.png"],
    "plot_small_cnn": ["cnn_digits.png", "cnn_digits_wrong.png"],
}


def numbers(pattern: str, text: str) -> list[float]:
    """The numbers that the groups of the pattern match, which must be there."""
    found = re.search(pattern, text)
    assert found, f"{pattern!r} is not in {text!r}"
    return [float(group) for group in found.groups()]


def filter_bank(text: str) -> None:
    assert numbers(r"ReLU +from +([\d.]+) to +([\d.]+), +(\d+)% zeros", text)[0] == 0
    low, high = numbers(r"tanh +from +(-[\d.]+) to +([\d.]+)", text)
    assert -1 <= low < 0 < high <= 1
    assert numbers(r"with activation='relu' the difference is (\S+)", text)[0] < 1e-5


def learned_sobel(text: str) -> None:
    first, last, error = numbers(r"loss (\S+) -> (\S+); largest difference from Sobel (\S+)", text)
    assert last < 1e-6 * first and error < 1e-3
    assert numbers(r"another photograph: largest difference (\S+)", text)[0] < 1e-2


def convolution_laboratory(text: str) -> None:
    assert numbers(r"(\d+) runs have the sizes of the formula", text)[0] == 288
    assert "[[-4  0  4]\n [-4  0  4]\n [-4  0  4]]" in text


def tensorflow_style(text: str) -> None:
    assert "a row of 4 ones, SAME, 2 taps: [2. 2. 2. 1.]" in text
    assert re.search(r"256 +5 +4 +64 +63\n", text)
    assert "windows of 3 every 2: (256, 256) -> (128, 128)" in text


def correlation_animated(text: str) -> None:
    place, found = numbers(r"the template lies at (\d+); the correlation is largest at (\d+)", text)
    assert place == found
    assert "letter (11, 12), valid (9, 10), same (11, 12)" in text


def small_cnn(text: str) -> None:
    assert numbers(r"Digits 8x8: .* accuracy on 360 others ([\d.]+)", text)[0] > 0.95


CLAIMS = {name: globals().get(name.removeprefix("plot_"), lambda text: None) for name in PICTURES}


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(script: Path, tmp_path: Path):
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", str(script), str(tmp_path)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "MPLBACKEND": "agg", "HOME": str(tmp_path)}
    run = subprocess.run(
        command,
        check=True,
        cwd=tmp_path,
        timeout=300,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    CLAIMS[script.stem](run.stdout)
    for name in PICTURES[script.stem]:
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 100 and len(picture.convert("RGB").getcolors(2**24)) > 20, name
    if script.stem == "plot_correlation_animated":
        with Image.open(tmp_path / "correlation.gif") as animation:
            assert animation.n_frames >= 30


def test_every_example_is_known():
    assert {script.stem for script in EXAMPLES} == set(PICTURES)
    for script in EXAMPLES:  # as sphinx-gallery wants them
        text = script.read_text()
        title, rule = text.removeprefix('"""\n').splitlines()[:2]
        assert text.startswith('"""\n') and set(rule) == {"="} and len(rule) >= len(title) and "\n# %%\n" in text
        assert len(text.splitlines()) <= 160
