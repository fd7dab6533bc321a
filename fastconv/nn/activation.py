"""Smooth activations: `torch.nn.functional`'s names, arguments and meaning, on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.nn.elementwise import applied, documented
from fastconv.replay import remembered
from fastconv.validate import choice

__all__ = ["gelu", "logsigmoid", "mish", "sigmoid", "silu", "softplus", "softsign", "tanh"]

APPROXIMATIONS = {"none": "gelu", "tanh": "gelu_tanh"}
# Those of the kernels that have no parameters.
BETA, THRESHOLD = 1.0, 20.0


@remembered(arrays=1)
@documented
def sigmoid(input: Any, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Map elements to numbers between 0 and 1.

        out[i] = 1 / (1 + exp(-input[i]))

    Parameters
    ----------
    {input}
    {plain}

    Notes
    -----
    Differs from `torch.nn.functional.sigmoid`: {differs}.

    References
    ----------
    Y. LeCun, L. Bottou, G. B. Orr, K.-R. Müller, "Efficient BackProp" (1998), doi:10.1007/3-540-49430-8_2.

    Examples
    --------
    >>> from fastconv.nn import sigmoid
    >>> sigmoid([-1.0, 0.0, 1.0]).round(4)
    array([0.2689, 0.5   , 0.7311])
    """
    return applied("sigmoid", input, False, out, threads)


@remembered(arrays=1)
@documented
def logsigmoid(input: Any, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """The logarithm of `sigmoid`, without underflow.

        out[i] = -log(1 + exp(-input[i]))

    Parameters
    ----------
    {input}
    {plain}

    Notes
    -----
    Differs from `torch.nn.functional.logsigmoid`: {differs}.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn import logsigmoid
    >>> logsigmoid([-1000.0, 0.0]).round(4)
    array([-1.000e+03, -6.931e-01])
    """
    return applied("logsigmoid", input, False, out, threads)


@remembered(arrays=1)
@documented
def tanh(input: Any, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Map elements to numbers between -1 and 1.

        out[i] = (exp(input[i]) - exp(-input[i])) / (exp(input[i]) + exp(-input[i]))

    Parameters
    ----------
    {input}
    {plain}

    Notes
    -----
    Differs from `torch.nn.functional.tanh`: {differs}.

    References
    ----------
    Y. LeCun, L. Bottou, G. B. Orr, K.-R. Müller, "Efficient BackProp" (1998), doi:10.1007/3-540-49430-8_2.

    Examples
    --------
    >>> from fastconv.nn import tanh
    >>> tanh([-1.0, 0.0, 1.0]).round(4)
    array([-0.7616,  0.    ,  0.7616])
    """
    return applied("tanh", input, False, out, threads)


@remembered(arrays=1)
@documented
def softsign(input: Any, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Map elements to numbers between -1 and 1, slower than `tanh`.

        out[i] = input[i] / (1 + abs(input[i]))

    Parameters
    ----------
    {input}
    {plain}

    Notes
    -----
    Differs from `torch.nn.functional.softsign`: {differs}.  Infinity gives NaN, as there.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn import softsign
    >>> softsign([-1.0, 0.0, 3.0])
    array([-0.5 ,  0.  ,  0.75])
    """
    return applied("softsign", input, False, out, threads)


@remembered(arrays=1)
@documented
def silu(input: Any, inplace: bool = False, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Multiply elements by their sigmoid; also known as swish.

        out[i] = input[i] / (1 + exp(-input[i]))

    Parameters
    ----------
    {input}
    {common}

    Notes
    -----
    Differs from `torch.nn.functional.silu`: {differs}.  Minus infinity gives NaN, as there.

    References
    ----------
    S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning", Neural Networks 107 (2018), doi:10.1016/j.neunet.2017.12.012.

    Examples
    --------
    >>> from fastconv.nn import silu
    >>> silu([-1.0, 0.0, 1.0]).round(4)
    array([-0.2689,  0.    ,  0.7311])
    """
    return applied("silu", input, inplace, out, threads)


@remembered(arrays=1)
@documented
def mish(input: Any, inplace: bool = False, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Multiply elements by the hyperbolic tangent of their softplus.

        out[i] = input[i] * tanh(log(1 + exp(input[i])))

    Parameters
    ----------
    {input}
    {common}

    Notes
    -----
    Differs from `torch.nn.functional.mish`: {differs}.  Minus infinity gives NaN, as there.

    References
    ----------
    D. Misra, "Mish: a self regularized non-monotonic activation function" (2019), doi:10.48550/arXiv.1908.08681.

    Examples
    --------
    >>> from fastconv.nn import mish
    >>> mish([-1.0, 0.0, 1.0]).round(4)
    array([-0.3034,  0.    ,  0.8651])
    """
    return applied("mish", input, inplace, out, threads)


@remembered(arrays=1)
@documented
def gelu(input: Any, approximate: str = "none", *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Multiply elements by the normal distribution's probability of smaller ones.

        out[i] = input[i] * (1 + erf(input[i] / sqrt(2))) / 2

    Parameters
    ----------
    {input}
    approximate : {"none", "tanh"}, optional
        ``"tanh"``: ``input * (1 + tanh(sqrt(2 / pi) * (input + 0.044715 * input**3))) / 2``.
    {plain}

    Notes
    -----
    Differs from `torch.nn.functional.gelu`: {differs}, where PyTorch's difference from 1 cancels;
    infinities give their limits, of ``approximate="tanh"`` minus infinity gives NaN, as there.

    References
    ----------
    D. Hendrycks, K. Gimpel, "Gaussian error linear units" (2016), doi:10.48550/arXiv.1606.08415.

    Examples
    --------
    >>> from fastconv.nn import gelu
    >>> gelu([-1.0, 0.0, 1.0]).round(4)
    array([-0.1587,  0.    ,  0.8413])
    """
    return applied(choice("approximate", approximate, APPROXIMATIONS), input, False, out, threads)


@remembered(arrays=1)
@documented
def softplus(
    input: Any, beta: float = 1.0, threshold: float = 20.0, *, out: Any = None, threads: int | None = None
) -> np.ndarray:
    """A smooth `relu`.

        out[i] = log(1 + exp(beta * input[i])) / beta,    input[i] itself where beta * input[i] > threshold

    Parameters
    ----------
    {input}
    beta : float, optional
        How sharp the bend at 0 is; not 0.
    threshold : float, optional
        Where the function becomes straight.
    {plain}

    Notes
    -----
    Differs from `torch.nn.functional.softplus`: {differs}.

    References
    ----------
    H. Zheng, Z. Yang, W. Liu, J. Liang, Y. Li, "Improving deep neural networks using softplus units", IJCNN (2015),
    doi:10.1109/IJCNN.2015.7280459.

    Examples
    --------
    >>> from fastconv.nn import softplus
    >>> softplus([-1.0, 0.0, 30.0]).round(4)
    array([ 0.3133,  0.6931, 30.    ])
    """
    if (beta, threshold) == (BETA, THRESHOLD):
        return applied("softplus", input, False, out, threads)
    if beta == 0:
        raise ValueError(f"beta must not be 0; got {beta!r}")
    return applied("softplus_beta", input, False, out, threads, beta, threshold)
