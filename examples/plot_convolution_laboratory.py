"""
The convolution laboratory: sizes, strides, padding, and a vertical line
========================================================================

How large is the result of a convolution?  The formulas of the textbooks, each beside a real run; then a picture so small that
every product can be checked by hand.

Usage: ``python examples/plot_convolution_laboratory.py [folder for the pictures]``
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import skimage.data

from fastconv import nn, plot

output = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "output")
output.mkdir(exist_ok=True)

# %%
# Sizes
# -----
# n pixels, p zeros at each end, a kernel of k taps that lie d pixels apart, and steps of s pixels: the kernel spans
# ``d (k - 1) + 1`` pixels, and fits so many times:


def size(n: int, k: int, s: int = 1, p: int = 0, d: int = 1) -> int:
    """Outputs of a convolution along one axis."""
    return (n + 2 * p - d * (k - 1) - 1) // s + 1


photograph = skimage.data.coins()[:96, :128].astype(np.float32) / 255
rng = np.random.default_rng(0)
runs = list(itertools.product((1, 2, 3, 5, 7, 11), (1, 2, 3, 4), (0, 1, 2, 5), (1, 2, 3)))
for k, s, p, d in runs:
    found = nn.conv2d(photograph[None, None], rng.normal(size=(1, 1, k, k)).astype("f4"), None, s, p, d).shape[2:]
    assert found == (size(96, k, s, p, d), size(128, k, s, p, d))
print(f"{len(runs)} runs have the sizes of the formula")

pooled = 0
for k, s, p in itertools.product((2, 3, 4), (1, 2, 3), (0, 1)):
    assert nn.max_pool2d(photograph[None, None], k, s, p).shape[2:] == (size(96, k, s, p), size(128, k, s, p))
    pooled += 1
print(f"{pooled} poolings have the sizes of the formula")

print(f"\n{'kernel':>6} {'stride':>6} {'padding':>7} {'dilation':>8}   96 x 128 becomes")
for k, s, p, d in [(3, 1, 0, 1), (3, 1, 1, 1), (5, 1, 2, 1), (3, 2, 1, 1), (7, 2, 3, 1), (3, 1, 2, 2), (11, 4, 2, 1)]:
    print(f"{k:>6} {s:>6} {p:>7} {d:>8}   {size(96, k, s, p, d)} x {size(128, k, s, p, d)}")

# %%
# Formulas as lines, runs as dots.  With ``p = (k - 1) / 2`` the size stays; strides divide it.
figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
tried = {
    "kernel size": (
        range(1, 14),
        lambda k: (k, 1, 0, 1),
        lambda k: (k, 1, (k - 1) // 2, 1),
        "no padding",
        "padding (k-1)//2",
    ),
    "stride": (range(1, 9), lambda s: (3, s, 1, 1), lambda s: (7, s, 0, 1), "k = 3, padding 1", "k = 7, no padding"),
    "padding": (range(0, 9), lambda p: (3, 1, p, 1), lambda p: (3, 1, p, 4), "k = 3", "k = 3, dilation 4"),
}
for ax, (name, (values, *options)) in zip(axes, tried.items(), strict=True):
    for arguments, label, colour in zip(options[:2], options[2:], ("tab:blue", "tab:orange"), strict=True):
        real = []
        for value in values:
            k, s, p, d = arguments(value)
            real.append(nn.conv2d(photograph[None, None], np.ones((1, 1, k, k), "f4"), None, s, p, d).shape[2])
        ax.plot(values, [size(96, *arguments(v)) for v in values], color=colour, label=label)
        ax.plot(values, real, "o", color=colour)
    ax.set(xlabel=name, ylabel="rows of the result, of 96")
    ax.grid(alpha=0.3)
    ax.legend()
figure.suptitle("The formula (lines) and real runs (dots)")
figure.savefig(output / "laboratory_sizes.png", dpi=90)

# %%
# A vertical line
# ---------------
# One column of ones.  The kernel takes the column on its right from that on its left: -4 where the line is on the right,
# 0 where it is in the middle, 4 where it is on the left.
line = np.zeros((5, 5), np.float32)
line[:, 2] = 1
kernel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float32)
answer = nn.conv2d(line[None, None], kernel[None, None])[0, 0]
print("\nA vertical line through [[1, 0, -1], [2, 0, -2], [1, 0, -1]]:")
print(answer.astype(int))
assert (answer == [-4, 0, 4]).all()

by_hand = np.array([[np.sum(line[y : y + 3, x : x + 3] * kernel) for x in range(3)] for y in range(3)])
assert (answer == by_hand).all()

padded = nn.conv2d(line[None, None], kernel[None, None], padding=1)[0, 0]
strided = nn.conv2d(line[None, None], kernel[None, None], stride=2)[0, 0]
pictures = {
    "image": line,
    "kernel": kernel,
    "valid: 5 - 3 + 1 = 3": answer,
    "padding 1: 5": padded,
    "stride 2: 2": strided,
}
figure = plot.show_filters(pictures, numbers=True, columns=5)
figure.suptitle("A vertical line, every number")
figure.savefig(output / "laboratory_line.png", dpi=130)

# %%
# What padding adds
# -----------------
# Zeros around a photograph are a dark frame: its edges answer.  Other kinds of padding continue the photograph instead.
modes = ("zeros", "reflect", "replicate", "circular")
edges = {
    mode: nn.conv2d(photograph[None, None], kernel[None, None], padding=8, padding_mode=mode)[0, 0] for mode in modes
}
figure = plot.show_feature_maps(edges, columns=4)
figure.suptitle("The same kernel on a photograph, padded by 8 pixels")
figure.savefig(output / "laboratory_padding.png", dpi=90)
print("\nlargest answers beside the left border:")
for mode, answers in edges.items():
    print(f"{mode:>12}: {np.abs(answers[16:-16, 6:9]).max():.2f}")
