"""Activations made of straight lines, and of one exponential: `torch.nn.functional`'s names, arguments and meaning."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.nn.elementwise import applied, documented
from fastconv.replay import remembered

__all__ = ["elu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "relu", "relu6"]


@remembered(arrays=1)
@documented
def relu(input: Any, inplace: bool = False, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Replace negative elements by 0.

        out[i] = max(input[i], 0)

    Parameters
    ----------
    {input}
    {common}

    Notes
    -----
    Differs from `torch.nn.functional.relu`: {differs}.

    References
    ----------
    K. Fukushima, "Visual feature extraction by a multilayered network of analog threshold elements", IEEE Transactions on
    Systems Science and Cybernetics 5 (1969), doi:10.1109/TSSC.1969.300225.

    Examples
    --------
    >>> from fastconv.nn import relu
    >>> relu([-1.5, 0.0, 2.5])
    array([0. , 0. , 2.5])
    """
    return applied("relu", input, inplace, out, threads)


@remembered(arrays=1)
@documented
def relu6(input: Any, inplace: bool = False, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Clamp elements to the range from 0 to 6.

        out[i] = min(max(input[i], 0), 6)

    Parameters
    ----------
    {input}
    {common}

    Notes
    -----
    Differs from `torch.nn.functional.relu6`: {differs}.

    References
    ----------
    M. Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR (2018), doi:10.1109/CVPR.2018.00474.

    Examples
    --------
    >>> from fastconv.nn import relu6
    >>> relu6([-1.5, 2.5, 7.0])
    array([0. , 2.5, 6. ])
    """
    return applied("relu6", input, inplace, out, threads)


@remembered(arrays=1)
@documented
def leaky_relu(
    input: Any, negative_slope: float = 0.01, inplace: bool = False, *, out: Any = None, threads: int | None = None
) -> np.ndarray:
    """Multiply negative elements by a small number.

        out[i] = input[i] if input[i] > 0 else negative_slope * input[i]

    Parameters
    ----------
    {input}
    negative_slope : float, optional
        What negative elements are multiplied by.
    {common}

    Notes
    -----
    Differs from `torch.nn.functional.leaky_relu`: {differs}.

    References
    ----------
    B. Xu, N. Wang, T. Chen, M. Li, "Empirical evaluation of rectified activations in convolutional network" (2015),
    doi:10.48550/arXiv.1505.00853.

    Examples
    --------
    >>> from fastconv.nn import leaky_relu
    >>> leaky_relu([-2.0, 3.0], 0.25)
    array([-0.5,  3. ])
    """
    return applied("leaky_relu", input, inplace, out, threads, negative_slope)


@remembered(arrays=1)
@documented
def elu(
    input: Any, alpha: float = 1.0, inplace: bool = False, *, out: Any = None, threads: int | None = None
) -> np.ndarray:
    """Bend negative elements towards -alpha.

        out[i] = input[i] if input[i] > 0 else alpha * (exp(input[i]) - 1)

    Parameters
    ----------
    {input}
    alpha : float, optional
        Minus the limit at minus infinity.
    {common}

    Notes
    -----
    Differs from `torch.nn.functional.elu`: {differs}.

    References
    ----------
    D.-A. Clevert, T. Unterthiner, S. Hochreiter, "Fast and accurate deep network learning by exponential linear units"
    (2015), doi:10.48550/arXiv.1511.07289.

    Examples
    --------
    >>> from fastconv.nn import elu
    >>> elu([-1.0, 2.0], 2.0).round(4)
    array([-1.2642,  2.    ])
    """
    return applied("elu", input, inplace, out, threads, alpha)


@remembered(arrays=1)
@documented
def hardsigmoid(input: Any, inplace: bool = False, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """A sigmoid of three straight lines.

        out[i] = min(max(input[i] + 3, 0), 6) / 6

    Parameters
    ----------
    {input}
    {common}

    Notes
    -----
    Differs from `torch.nn.functional.hardsigmoid`: {differs}.

    References
    ----------
    A. Howard et al., "Searching for MobileNetV3", ICCV (2019), doi:10.1109/ICCV.2019.00140.

    Examples
    --------
    >>> from fastconv.nn import hardsigmoid
    >>> hardsigmoid([-4.0, 0.0, 1.5])
    array([0.  , 0.5 , 0.75])
    """
    return applied("hardsigmoid", input, inplace, out, threads)


@remembered(arrays=1)
@documented
def hardswish(input: Any, inplace: bool = False, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Multiply elements by their `hardsigmoid`.

        out[i] = input[i] * min(max(input[i] + 3, 0), 6) / 6

    Parameters
    ----------
    {input}
    {common}

    Notes
    -----
    Differs from `torch.nn.functional.hardswish`: {differs}.  Minus infinity gives NaN, as there.

    References
    ----------
    A. Howard et al., "Searching for MobileNetV3", ICCV (2019), doi:10.1109/ICCV.2019.00140.

    Examples
    --------
    >>> from fastconv.nn import hardswish
    >>> hardswish([-1.5, 0.0, 4.0])
    array([-0.375,  0.   ,  4.   ])
    """
    return applied("hardswish", input, inplace, out, threads)


@remembered(arrays=1)
@documented
def hardtanh(
    input: Any,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
    *,
    out: Any = None,
    threads: int | None = None,
) -> np.ndarray:
    """Clamp elements to a range.

        out[i] = min(max(input[i], min_val), max_val)

    Parameters
    ----------
    {input}
    min_val, max_val : float, optional
        The range; `max_val` is not below `min_val`.
    {common}

    Notes
    -----
    Differs from `torch.nn.functional.hardtanh`: {differs}.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn import hardtanh
    >>> hardtanh([-3.0, 0.5, 2.0])
    array([-1. ,  0.5,  1. ])
    """
    if not min_val <= max_val:
        raise ValueError(f"max_val must be at least min_val = {min_val!r}; got {max_val!r}")
    return applied("hardtanh", input, inplace, out, threads, min_val, max_val)
