"""What a convolution with bias and activation saves: the same layer alone, and with the activation passing over its result."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.bench.case import Case
from fastconv.bench.contestants import Call, Engine
from fastconv.plan import plan

__all__ = ["Unfused", "parts"]


@dataclass(frozen=True)
class Unfused:
    """An engine's convolution: alone, or (`whole`) with bias and then, in place, the activation."""

    engine: Engine
    whole: bool
    kind: str = "part"

    @property
    def name(self) -> str:
        return f"{self.engine.name} {'unfused' if self.whole else 'alone'}"

    @property
    def compiles(self) -> bool:
        return self.engine.compiles

    def version(self) -> str:
        return self.engine.version()

    def session(self, threads: int, precision: str = "default") -> AbstractContextManager[Any]:
        return self.engine.session(threads, precision)

    def prepare(self, case: Case, x: np.ndarray, w: Any) -> Call:
        options = {name: value for name, value in case.keywords.items() if name != "activation"}
        image, weights, bias = w
        weights = weights.copy()
        weights.flags.writeable = False
        prepared = plan(nn.conv2d, image, weights, bias if self.whole else None, **options).prepare(weights)
        if not self.whole:
            return lambda: prepared(image)
        activation = getattr(nn, case.keywords["activation"])
        return lambda: activation(prepared(image), inplace=True)


def parts(engine: Engine) -> list[Unfused]:
    return [Unfused(engine, whole) for whole in (False, True)]
