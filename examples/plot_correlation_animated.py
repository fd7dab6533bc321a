"""
Cross-correlation, animated, and a letter through convolve2d
============================================================

A template slides along a signal; at each place both are multiplied and the products added up.  The sum is largest where the
signal looks like the template.

Usage: ``python examples/plot_correlation_animated.py [folder for the pictures]``
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter

import fastconv
from fastconv import plot

output = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "output")
output.mkdir(exist_ok=True)

# %%
# A signal with a template in it
# ------------------------------
# A chirp, hidden at place 70 in noise.
rng = np.random.default_rng(3)
t = np.linspace(0, 1, 24)
template = np.sin(2 * np.pi * (1.5 * t + 2 * t**2)) * np.hanning(26)[1:-1]
PLACE = 70
signal = 0.25 * rng.normal(size=140)
signal[PLACE : PLACE + template.size] += template

correlation = fastconv.correlate(signal, template, mode="valid")
by_hand = [np.sum(signal[k : k + template.size] * template) for k in range(signal.size - template.size + 1)]
assert np.allclose(correlation, by_hand)
found = int(correlation.argmax())
print(f"the template lies at {PLACE}; the correlation is largest at {found}")
assert found == PLACE

# %%
# The animation
# -------------
# Above: the signal and the template over it.  Middle: their products, whose sum is the dot below.
figure, (above, middle, below) = plt.subplots(3, 1, figsize=(7, 5.4), sharex=True, layout="constrained")
above.plot(signal, color="0.6", label="signal")
(moving,) = above.plot([], [], color="tab:red", lw=2, label="template")
above.legend(loc="upper left", ncols=2)
above.set(ylim=(-1.7, 1.9), xlim=(0, signal.size - 1), title="A template slides along a signal")
bars = middle.bar(np.arange(template.size), np.zeros(template.size), width=1.0, color="tab:purple")
middle.set(ylim=(-0.6, 1.4), ylabel="products")
(curve,) = below.plot([], [], color="tab:blue")
(dot,) = below.plot([], [], "o", color="tab:blue")
below.set(ylim=(1.15 * correlation.min(), 1.15 * correlation.max()), xlabel="place", ylabel="their sum")
below.axvline(PLACE, color="0.8", lw=1, zorder=0)


def draw(place: int) -> list:
    """One picture of the animation."""
    at = np.arange(place, place + template.size)
    moving.set_data(at, template)
    for bar, x, height in zip(bars, at, signal[at] * template, strict=True):
        bar.set_x(x - 0.5)
        bar.set_height(height)
    curve.set_data(np.arange(place + 1), correlation[: place + 1])
    dot.set_data([place], [correlation[place]])
    return [moving, curve, dot, *bars]


figure.canvas.draw()
figure.set_layout_engine("none")  # as it is, in all pictures
frames = [*range(0, correlation.size, 3), correlation.size - 1]
animation = FuncAnimation(figure, draw, frames=frames)
animation.save(output / "correlation.gif", writer=PillowWriter(fps=10), dpi=60)
draw(PLACE)
figure.savefig(output / "correlation_found.png", dpi=90)
print(f"{len(frames)} pictures in correlation.gif")

# %%
# A letter
# --------
# `convolve2d` flips the kernel; "valid" keeps the places where it lies inside the picture, "same" as many as the picture has.
letter = np.array(
    [
        [pixel == "#" for pixel in row]
        for row in [
            "............",
            "..########..",
            "..#########.",
            "..##.....##.",
            "..##.....##.",
            "..########..",
            "..########..",
            "..##...##...",
            "..##....##..",
            "..##.....##.",
            "............",
        ]
    ],
    float,
)
kernel = np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
valid = fastconv.convolve2d(letter, kernel, mode="valid")
same = fastconv.convolve2d(letter, kernel, mode="same")
assert valid.shape == (letter.shape[0] - 2, letter.shape[1] - 2) and same.shape == letter.shape
assert (same[1:-1, 1:-1] == valid).all()
assert (valid == fastconv.correlate2d(letter, kernel[::-1, ::-1], mode="valid")).all()
print(f"letter {letter.shape}, valid {valid.shape}, same {same.shape}")

thick = fastconv.convolve2d(letter, np.ones((3, 3)) / 9, mode="same")
pictures = {
    f"valid {valid.shape[0]} x {valid.shape[1]}": valid,
    f"same {same.shape[0]} x {same.shape[1]}": same,
    "same, with a box 3 x 3": thick,
}
figure, axes = plt.subplots(1, 4, figsize=(9, 2.7), layout="constrained")
plot.show_before_after(letter, pictures, titles=[f"letter {letter.shape[0]} x {letter.shape[1]}", *pictures], axes=axes)
figure.suptitle("A letter through convolve2d")
figure.savefig(output / "letter.png", dpi=100)
