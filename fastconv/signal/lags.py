"""The lags that the elements of a one-dimensional cross-correlation stand for."""

from __future__ import annotations

import operator

import numpy as np

from fastconv.validate import choice

__all__ = ["correlation_lags"]

MODES = {"full": "full", "same": "same", "valid": "valid"}


def correlation_lags(in1_len: int, in2_len: int, mode: str = "full") -> np.ndarray:
    """Return the lags of a one-dimensional cross-correlation.

    Element ``i`` of ``correlate(in1, in2, mode)`` is

        z[i] = sum over k of in1[k + lags[i]] * conj(in2[k])

    Parameters
    ----------
    in1_len, in2_len : int
        Lengths of the two signals.
    mode : {"full", "valid", "same"}, optional
        As in `correlate`.

    Returns
    -------
    ndarray
        Integers in ascending order, as many as the cross-correlation has elements.

    Raises
    ------
    ValueError
        If there is no such mode.
    TypeError
        If a length is not an integer.

    Notes
    -----
    Differs from `scipy.signal.correlation_lags`: in ``"same"`` mode with odd `in1_len` and even
    `in2_len` its lags are one more than those of the elements that `scipy.signal.correlate` returns.

    References
    ----------
    P. Virtanen et al., "SciPy 1.0", Nature Methods 17 (2020) 261, doi:10.1038/s41592-019-0686-2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.signal import correlate, correlation_lags
    >>> signal = np.array([0, 1, 3, 1, 0, 0])
    >>> correlation_lags(6, 3)[np.argmax(correlate(signal, [1, 3, 1]))]
    np.int64(1)
    """
    n, k = operator.index(in1_len), operator.index(in2_len)
    low, high = {
        "full": (1 - k, n),
        "same": ((k - 1) // 2 - (k - 1), (k - 1) // 2 - (k - 1) + n),
        "valid": (min(n - k, 0), max(n - k, 0) + 1),
    }[choice("mode", mode, MODES)]
    return np.arange(low, high)
