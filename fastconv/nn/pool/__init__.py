"""Pooling of arrays with one to three spatial axes; `fractional` and `unpool` are imported when they are asked for."""

from fastconv.nn.pool.adaptive import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
)
from fastconv.nn.pool.averages import avg_pool1d, avg_pool2d, avg_pool3d
from fastconv.nn.pool.maxima import max_pool1d, max_pool2d, max_pool3d
from fastconv.nn.pool.powers import lp_pool1d, lp_pool2d, lp_pool3d

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]
