"""Streams of many instruments, updated in one call."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sep_engine import _core
from sep_engine.qfh._arrays import as_gap, as_window, one_dimensional
from sep_engine.qfh.bits import Encoding
from sep_engine.qfh.rolling import Predictor, metric_names


class StreamBank:
    """One stream for each instrument; an update takes one price of each.

    Args:
        ticks: (n,) float64, the price step of each instrument.
        window, metrics, encoding, predictor, collapse_share: as in `rolling`, for all instruments.
    """

    __slots__ = ("_bank", "_columns")

    def __init__(
        self,
        ticks: ArrayLike,
        *,
        window: int = 64,
        metrics: Sequence[str] | Literal["all"] | None = None,
        encoding: Encoding = "moves",
        predictor: Predictor = "markov",
        collapse_share: float = 0.6,
    ) -> None:
        names = metric_names(metrics, of_bits=False)
        size = as_window(window, values=window + 1, needed=window + 1, values_name="prices")
        self._bank = _core.StreamBank(
            one_dimensional("ticks", ticks, np.float64),
            size,
            encoding,
            names,
            predictor,
            float(collapse_share),
        )
        columns: dict[str, NDArray[Any]] = {name: np.empty(len(self)) for name in names}
        columns["complete"] = np.empty(len(self), dtype=np.bool_)
        self._columns = columns

    def __len__(self) -> int:
        return len(self._bank)

    def update(
        self, prices: ArrayLike, *, gap: ArrayLike | None = None
    ) -> Mapping[str, NDArray[Any]]:
        """Take in one price of each instrument and return the metrics of all.

        The arrays, (n,) each, are written again by the next update; copy what is to stay.

        Args:
            prices: (n,) float64. NaN says that an instrument has no new price: its metrics stay.
            gap: (n,) bool, something is missing before this price.

        Raises:
            ArgumentError: a price breaks a rule of `rolling`; no stream is then changed.
        """
        array = one_dimensional("prices", prices, np.float64)
        self._bank.update(array, as_gap(gap, values=array.size, value="price"), self._columns)
        return self._columns
