"""
A bank of fixed filters, and what activations leave of its feature maps
=======================================================================

The first layer of a convolutional network is a bank of filters, and an activation behind it.  Here the filters are not
learned but chosen: each answers to one thing in a photograph, and its *feature map* shows where that thing is.

Usage: ``python examples/plot_filter_bank.py [folder for the pictures]``
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import skimage.data

from fastconv import kernels, nn, plot

output = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "output")
output.mkdir(exist_ok=True)

# %%
# The filters
# -----------
# Eight kernels of 5x5 taps, those that are smaller with zeros around them.  Their weights have one sum of magnitudes, so that
# the maps have comparable scales.
chosen = {
    "vertical edges": kernels.sobel(axis=1),
    "horizontal edges": kernels.sobel(axis=0),
    "diagonal edges": kernels.edge(45),
    "vertical lines": kernels.line(90),
    "horizontal lines": kernels.line(0),
    "blobs": kernels.laplacian_of_gaussian(5, sigma=1.0),
    "saddles": np.array([[1.0, -1.0], [-1.0, 1.0]]),
    "brightness": kernels.box(5),
}


def centred(kernel: np.ndarray, size: int = 5) -> np.ndarray:
    """The kernel with zeros around it, its weights scaled to magnitudes that add up to 2."""
    before = [(size - n) // 2 for n in kernel.shape]
    pads = [(b, size - n - b) for b, n in zip(before, kernel.shape, strict=True)]
    return np.pad(kernel * (2 / np.abs(kernel).sum()), pads)


weight = np.stack([centred(kernel) for kernel in chosen.values()])[:, None].astype(np.float32)
figure = plot.show_filters(weight, titles=list(chosen), columns=4)
figure.suptitle("Red weights are positive, blue negative")
figure.savefig(output / "filter_bank_weights.png", dpi=100)
print(f"weights {weight.shape}: (filters, channels, rows, columns)")

# %%
# Feature maps
# ------------
# `conv2d` takes batches of images, ``(N, C, H, W)``.  With ``padding="same"`` a map is as large as the photograph.
photograph = skimage.data.camera()[::2, ::2].astype(np.float32) / 255
images = photograph[None, None] - photograph.mean()
maps = nn.conv2d(images, weight, padding="same")
print(f"feature maps {maps.shape}, from {maps.min():.2f} to {maps.max():.2f}")

figure = plot.show_feature_maps(maps, titles=list(chosen), columns=4, shared=False, clip=0.005)
figure.suptitle("Feature maps: red is above 0, blue below")
figure.savefig(output / "filter_bank_maps.png", dpi=100)

# %%
# Activations
# -----------
# An activation is applied to each element.  ReLU keeps the places where the filter's pattern is, and drops those where its
# negative is; leaky ReLU keeps a fifth of these; sigmoid and tanh squeeze both into a range.
sharper = 4 * maps  # squeezed where their functions bend
activations = {
    "before": lambda x: x,
    "ReLU": nn.relu,
    "leaky ReLU, 0.2": lambda x: nn.leaky_relu(x, 0.2),
    "sigmoid": nn.sigmoid,
    "tanh": nn.tanh,
}
after = {name: activation(sharper) for name, activation in activations.items()}
for name, values in after.items():
    zeros = 100 * np.mean(values == 0)
    print(f"{name:16} from {values.min():6.2f} to {values.max():5.2f}, {zeros:3.0f}% zeros")
assert after["ReLU"].min() == 0
assert after["sigmoid"].min() > 0 and after["sigmoid"].max() < 1
assert after["tanh"].min() >= -1 and after["tanh"].max() <= 1

shown = [0, 1, 5, 6]
figure, axes = plt.subplots(len(shown), len(after), figsize=(11, 9), layout="constrained")
for column, (name, values) in zip(axes.T, after.items(), strict=True):
    plot.show_feature_maps(values[:, shown], axes=column, clip=0.005)
    column[0].set_title(f"{name}\n{values.min():.1f} to {values.max():.1f}")
for ax, k in zip(axes[:, 0], shown, strict=True):
    ax.set_ylabel(list(chosen)[k])
figure.savefig(output / "filter_bank_activations.png", dpi=80)

# %%
# The activation can be computed where the sums are finished, before they are stored: one pass over memory rather than two.
fused = nn.conv2d(images, weight, padding="same", activation="relu")
print(f"with activation='relu' the difference is {np.abs(fused - nn.relu(maps)).max():.0e}")
assert np.allclose(fused, nn.relu(maps), atol=1e-5)
