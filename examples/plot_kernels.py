"""
Textbook kernels and what they do
=================================

Every kernel of `fastconv.kernels`, and a photograph convolved with it.  Blue weights are positive, red
ones negative; where they add up to zero, grey is zero, and brighter and darker are above and below.

Usage: ``python examples/plot_kernels.py [folder for the picture]``
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import skimage.data
from matplotlib.figure import Figure

from fastconv import kernels, ndimage

photograph = skimage.data.camera()[40:296, 130:386].astype(np.float32)

shown = {
    "box 9×9": kernels.box(9),
    "gaussian σ=3": kernels.gaussian(sigma=3),
    "binomial 5×5": kernels.binomial(5),
    "disk r=6": kernels.disk(6),
    "motion_blur 25, 30°": kernels.motion_blur(25, 30),
    "sharpen": kernels.sharpen(),
    "unsharp 9×9, 2": kernels.unsharp(9, amount=2.0),
    "emboss 315°": kernels.emboss(),
    "sobel, axis 1": kernels.sobel(),
    "sobel, axis 0": kernels.sobel(axis=0),
    "scharr": kernels.scharr(),
    "prewitt": kernels.prewitt(),
    "roberts": kernels.roberts(),
    "edge 45°": kernels.edge(45),
    "edge 135°": kernels.edge(135),
    "kirsch 90°": kernels.kirsch(90),
    "robinson 225°": kernels.robinson(225),
    "line 90°": kernels.line(90),
    "laplace": kernels.laplace(),
    "laplace, 8 neighbours": kernels.laplace(2),
    "laplacian_of_gaussian σ=2": kernels.laplacian_of_gaussian(sigma=2),
    "difference_of_gaussians σ=2": kernels.difference_of_gaussians(sigma=2),
    "gabor θ=0, λ=8": kernels.gabor(sigma=3, theta=0, wavelength=8)
    - kernels.gabor(sigma=3, theta=0, wavelength=8).mean(),
    "gabor θ=2, λ=8, odd": kernels.gabor(sigma=3, theta=2, wavelength=8, psi=-np.pi / 2),
}

# %%
# A pair of pictures for each: the weights, and the photograph convolved with them.
columns = 6
rows = -(-len(shown) // columns)
figure = Figure(figsize=(16.0, 2.0 * rows), layout="constrained")
axes = figure.subplots(rows, 2 * columns, width_ratios=(0.55, 1) * columns).reshape(-1, 2)
for (weights_ax, picture_ax), (name, kernel) in zip(axes, shown.items(), strict=True):
    largest = np.abs(kernel).max()
    weights_ax.imshow(kernel, cmap="RdBu", vmin=-largest, vmax=largest)
    filtered = ndimage.convolve(photograph, kernel.astype(np.float32))
    if kernels.is_derivative(kernel):
        limit = np.quantile(np.abs(filtered), 0.99)
        picture_ax.imshow(filtered, cmap="gray", vmin=-limit, vmax=limit)
    else:
        picture_ax.imshow(filtered, cmap="gray", vmin=0, vmax=255)
    picture_ax.set_title(name, fontsize=9)
    for ax in (weights_ax, picture_ax):
        ax.set_xticks([])
        ax.set_yticks([])

# %%
# Into a file.
output = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "output")
output.mkdir(exist_ok=True)
figure.savefig(output / "kernels.png", dpi=80)
