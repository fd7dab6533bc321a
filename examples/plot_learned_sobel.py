"""
A filter that is learned: from random weights to Sobel
======================================================

Gradient descent finds the kernel that made one picture of another.  Nine random weights are corrected step by step, each time
against the gradient of the squared error, until they are the Sobel kernel; then they are tried on another photograph.

Usage: ``python examples/plot_learned_sobel.py [folder for the pictures]``
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import skimage.data

from fastconv import kernels, nn, plot
from fastconv.nn import grad

output = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "output")
output.mkdir(exist_ok=True)
rng = np.random.default_rng(7)

# %%
# The task
# --------
# A photograph, and its edges as the Sobel kernel shows them.  The kernel itself is kept from the learner.
sobel = kernels.sobel(axis=1).astype(np.float64)[::-1, ::-1][None, None]  # nn.conv2d does not flip kernels
photograph = skimage.data.camera()[100:356, 130:386].astype(np.float64) / 255
images = (photograph - photograph.mean())[None, None]
wanted = nn.conv2d(images, sobel)


def loss_and_gradient(weight: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean squared error of the filter's output, and its gradient with respect to the weights."""
    error = nn.conv2d(images, weight) - wanted
    grad_output = 2 * error / error.size
    return float(np.mean(error**2)), grad.conv2d_weight(images, weight.shape, grad_output)


# %%
# The gradient is right if it is the quotient of small differences.
weight = rng.normal(size=sobel.shape)
loss, gradient = loss_and_gradient(weight)
step = 1e-6 * rng.normal(size=weight.shape)
difference = loss_and_gradient(weight + step)[0] - loss_and_gradient(weight - step)[0]
print(f"change of the loss: by differences {difference:.6e}, by the gradient {2 * np.vdot(gradient, step):.6e}")
assert np.isclose(difference, 2 * np.vdot(gradient, step), rtol=1e-4)

# %%
# Learning
# --------
# Neighbouring pixels are much alike, so the loss has steep walls and long flat valleys.  Plain gradient descent creeps along
# these; with momentum (Nesterov's), it gathers speed there.
STEPS, RATE, MOMENTUM = 1000, 0.6, 0.95
velocity = np.zeros_like(weight)
losses, history = [], {0: weight.copy()}
for t in range(1, STEPS + 1):
    loss, gradient = loss_and_gradient(weight + MOMENTUM * velocity)
    losses.append(loss)
    velocity = MOMENTUM * velocity - RATE * gradient
    weight += velocity
    if t in (10, 50, 200, STEPS):
        history[t] = weight.copy()

error = np.abs(weight - sobel).max()
print("learned weights:", *np.array2string(weight[0, 0], precision=3, suppress_small=True).splitlines(), sep="\n    ")
print(f"loss {losses[0]:.3g} -> {losses[-1]:.3g}; largest difference from Sobel {error:.1e}")
assert error < 1e-3

# %%
# The weights on their way, and the loss.
figure = plt.figure(figsize=(9, 5), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=(1, 1.5))
axes = above.subplots(1, len(history) + 1)
shown = {f"step {t}": w[0, 0] for t, w in history.items()} | {"Sobel": sobel[0, 0]}
plot.show_filters({name: np.round(w, 2) + 0.0 for name, w in shown.items()}, numbers=True, shared=True, axes=axes)
ax = below.subplots()
ax.semilogy(losses)
ax.set(xlabel="step", ylabel="mean squared error", title="Loss")
ax.grid(alpha=0.3)
figure.savefig(output / "learned_sobel_loss.png", dpi=100)

# %%
# On another photograph
# ---------------------
# What was learned from one photograph holds for others.
other = skimage.data.coins().astype(np.float64) / 255
ours = nn.conv2d(other[None, None], weight)[0, 0]
theirs = nn.conv2d(other[None, None], sobel)[0, 0]
print(
    f"another photograph: largest difference {np.abs(ours - theirs).max():.1e} of values up to {np.abs(theirs).max():.1f}"
)
assert np.abs(ours - theirs).max() < 1e-2

results = {"Sobel": theirs, "learned": ours, "difference, 100,000 times": 100_000 * (ours - theirs)}
figure, axes = plt.subplots(1, 4, figsize=(14, 3.1), layout="constrained")
plot.show_before_after(other, results, clip=0.005, axes=axes)
axes[0].set_title("coins", fontsize=9)
axes[3].images[0].set_clim(*axes[1].images[0].get_clim())
figure.savefig(output / "learned_sobel_coins.png", dpi=80)
