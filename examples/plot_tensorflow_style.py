"""
TensorFlow's way: SAME and VALID, channels last
===============================================

TensorFlow keeps the colours of a pixel together (NHWC), writes kernels as (rows, columns, inputs, outputs) (HWIO), and pads by
the names SAME and VALID.  `fastconv.keras` takes these as they are.

Usage: ``python examples/plot_tensorflow_style.py [folder for the pictures]``
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import skimage.data

from fastconv import keras, kernels, plot

output = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "output")
output.mkdir(exist_ok=True)

# %%
# Photographs as batches of one: grey ``(1, H, W, 1)`` and in colour ``(1, H, W, 3)``.
grey = skimage.data.camera()[::2, ::2].astype(np.float32)[None, :, :, None] / 255
colour = skimage.data.astronaut()[:256, 96:352].astype(np.float32)[None] / 255

# %%
# SAME and VALID
# --------------
# SAME: ``ceil(n / stride)`` outputs; zeros are added as evenly as possible, the odd one after.  VALID: no zeros, so
# ``ceil((n - k + 1) / stride)`` outputs.
print(f"{'pixels':>6} {'kernel':>6} {'stride':>6} {'SAME':>6} {'VALID':>6}")
for n, k, s in [(10, 3, 1), (10, 3, 2), (11, 3, 2), (10, 2, 2), (11, 4, 3), (256, 5, 4)]:
    image, kernel = np.ones((1, n, n, 1), np.float32), np.ones((k, k, 1, 1), np.float32)
    same = keras.conv(image, kernel, strides=s, padding="same").shape[1]
    valid = keras.conv(image, kernel, strides=s, padding="valid").shape[1]
    assert (same, valid) == (-(-n // s), -(-(n - k + 1) // s))
    print(f"{n:>6} {k:>6} {s:>6} {same:>6} {valid:>6}")

# %%
# The odd zero stands after the pixels: of 4 ones, a kernel of 2 ones makes 2, 2, 2, and 1 beside the zero.
row = keras.conv(np.ones((1, 4, 1)), np.ones((2, 1, 1)), padding="same")[0, :, 0]
print("a row of 4 ones, SAME, 2 taps:", row)
assert row.tolist() == [2, 2, 2, 1]

# %%
# Filters
# -------
# Sobel, a derivative, and a box.  On grey they are one kernel ``(kH, kW, 1, 1)``; in colour each channel is filtered for itself,
# which is a depthwise convolution with kernels ``(kH, kW, 3, 1)``.
filters = {
    "Sobel": kernels.sobel(axis=1)[::-1, ::-1],
    "derivative": np.array([[-1.0, 0.0, 1.0]]),
    "box 7x7": kernels.box(7),
}
filtered_grey, filtered_colour = {}, {}
for name, kernel in filters.items():
    hwio = np.ascontiguousarray(kernel, np.float32)[:, :, None, None]
    filtered_grey[name] = keras.conv(grey, hwio, padding="same")[0, :, :, 0]
    filtered_colour[name] = keras.depthwise_conv(colour, np.tile(hwio, (1, 1, 3, 1)), padding="same")[0]
    assert np.allclose(keras.depthwise_conv(grey, hwio, padding="same")[0, :, :, 0], filtered_grey[name], atol=1e-5)

figure, axes = plt.subplots(2, 4, figsize=(12, 6.2), layout="constrained")
plot.show_before_after(grey[0, :, :, 0], filtered_grey, clip=0.01, axes=axes[0])
plot.show_before_after(colour[0], filtered_colour, clip=0.01, axes=axes[1])
axes[0, 0].set_title("grey")
axes[1, 0].set_title("colour")
figure.suptitle("Derivatives: 0 is white, in colour it is grey")
figure.savefig(output / "tensorflow_filters.png", dpi=80)

# %%
# All three colours together: one filter that reads them all, ``(kH, kW, 3, 1)``, is a convolution of the usual kind.
luminance = np.array([0.2125, 0.7154, 0.0721], np.float32).reshape(1, 1, 3, 1)
edges = keras.conv(keras.conv(colour, luminance), filters["Sobel"].astype(np.float32)[:, :, None, None], padding="same")
print("edges of the luminance:", edges.shape)

# %%
# Pooling
# -------
# Windows of 3 pixels every 2 pixels overlap.  SAME pools a window at the border over the pixels that it has.
pools = {}
for size, strides in [(2, 2), (3, 2), (7, 4)]:
    largest = keras.max_pool(colour, size, strides, padding="same")
    average = keras.average_pool(colour, size, strides, padding="same")
    assert largest.shape[1:3] == average.shape[1:3] == (-(-256 // strides),) * 2
    assert (largest >= average - 1e-6).all()
    pools |= {f"maximum {size}x{size} / {strides}": largest[0], f"average {size}x{size} / {strides}": average[0]}
    print(f"windows of {size} every {strides}: {colour.shape[1:3]} -> {largest.shape[1:3]}")

figure, axes = plt.subplots(2, 3, figsize=(9, 6.4), layout="constrained")
for ax, (name, picture) in zip(axes.T.ravel(), pools.items(), strict=True):
    ax.imshow(picture)
    ax.set(title=f"{name}: {picture.shape[0]} x {picture.shape[1]}", xticks=[], yticks=[])
figure.savefig(output / "tensorflow_pooling.png", dpi=80)
