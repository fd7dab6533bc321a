"""Calls whose weights are brought into the kernels' order once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastconv import config
from fastconv.engines.threads._tape import same_bytes
from fastconv.replay import LARGEST_LAYER, KeptWeights, WeightsInTurn, kept_weights, remembered

if TYPE_CHECKING:
    from fastconv.plan import PlannedCall

__all__ = ["PreparedCall"]


class Taken(NamedTuple):
    """Weights, what they were when they were packed (None: nobody can write to them), and the call with them."""

    weight: np.ndarray
    copy: np.ndarray | None
    kept: KeptWeights
    call: Any

    def current(self) -> bool:
        """Whether the array holds what it held when it was packed."""
        if self.copy is None or (self.kept.made and self.kept.as_given):
            return True
        return same_bytes(np.ascontiguousarray(self.weight), self.copy)


class PreparedCall:
    """A planned call whose weights stay: ``prepared(image)``.  Made by `PlannedCall.prepare`.

    Weights as the kernel reads them are kept from call to call.  They are never out of date: at each call the array
    that was given is compared with a copy, byte by byte (10 to 30 GB/s: 1 to 5% of the time of most layers, as much as
    packing where images are small), and packed anew if it has changed.  A read-only array is not compared, nor one
    that the kernel reads where it lies.

    Attributes
    ----------
    planned : PlannedCall
        The planned call.
    """

    def __init__(self, planned: PlannedCall, weight: Any):
        self.planned = planned
        self._taken = self._take(weight)

    @property
    def weight(self) -> np.ndarray:
        """The weights; an array given as such is this one, not a copy."""
        return self._taken.weight

    def __call__(self, image: Any, weight: Any = None, *, out: np.ndarray | None = None) -> Any:
        """Make the planned call with this image.

        Parameters
        ----------
        image : array_like
            Of the planned shape and dtype.
        weight : array_like, optional
            Other weights of the planned shape and dtype, which take the place of those that are kept.
        out : ndarray, optional
            Array for the result.

        Returns
        -------
        ndarray
            What the function returns.

        Raises
        ------
        ValueError
            If the shape or dtype of an array is not the planned one.
        """
        taken = self._taken  # all of it at once: other threads may bring other weights
        if weight is not None and weight is not taken.weight:
            self._taken = taken = self._take(weight)
        elif not taken.current():
            self._taken = taken = self._take(taken.weight)
        self.planned._check((image,))
        return taken.call(image) if out is None else taken.call(image, out=out)

    def __str__(self) -> str:
        return f"{self.planned}\nweights         prepared"

    def _take(self, weight: Any) -> Taken:
        """These weights, and nothing that was made of others."""
        weight = np.asarray(weight)
        self.planned._check((weight,), 1)
        kept = KeptWeights(weight)
        copy = None if _constant(weight) else np.array(weight, order="C")
        return Taken(weight, copy, kept, self._remembering(kept, weight))

    def _remembering(self, kept: KeptWeights, weight: np.ndarray) -> Any:
        planned = self.planned

        @remembered(arrays=1, listed=False, largest=LARGEST_LAYER)
        def call(image: Any, *, out: np.ndarray | None = None) -> Any:
            args, kwargs = planned._arguments((image, weight), out)
            token = kept_weights.set(WeightsInTurn(kept))
            try:
                with config.enforced(planned._settings):
                    return planned.function(*args, **kwargs)
            finally:
                kept_weights.reset(token)

        return call


def _constant(array: np.ndarray) -> bool:
    """Whether nobody can write to an array: it and all that it is a view of are read-only."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return False
        owner = owner.base
    return owner is None
