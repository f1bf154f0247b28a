"""Streams of many instruments, updated in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sep_engine import _core
from sep_engine.qfh._arrays import as_gap, as_window, one_dimensional
from sep_engine.qfh.bits import Encoding
from sep_engine.qfh.rolling import METRICS, Predictor, metric_names


class StreamBank:
    """One stream for each instrument; an update takes one price of each.

    Its values are those of `Stream`, and so of `rolling`, to the last bit. One thread at a time may
    use a bank: Python's lock is held during an update. It can be copied and pickled, both by its
    snapshot.

    Args:
        ticks: (n,) float64, the price step of each instrument, > 0.
        window, metrics, encoding, predictor, collapse_share: as in `rolling`, for all instruments.

    Raises:
        ArgumentError: a tick or another argument is out of range.
        TypeError: an argument has another type.
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
        self._keep(
            _core.StreamBank(
                one_dimensional("ticks", ticks, np.float64),
                as_window(window),
                encoding,
                names,
                predictor,
                collapse_share,
            ),
            names,
        )

    def _keep(self, bank: _core.StreamBank, names: Sequence[str]) -> None:
        self._bank = bank
        columns: dict[str, NDArray[Any]] = {name: np.empty(len(bank)) for name in names}
        columns["complete"] = np.empty(len(bank), dtype=np.bool_)
        self._columns = columns

    def __len__(self) -> int:
        return len(self._bank)

    def __repr__(self) -> str:
        names = ", ".join(name for name in self._columns if name != "complete")
        return f"StreamBank({len(self)} instruments, {self._bank.kind}: {names})"

    def update(
        self, prices: ArrayLike, *, gap: ArrayLike | None = None
    ) -> Mapping[str, NDArray[Any]]:
        """Take in one price of each instrument and return the metrics of all.

        The arrays, (n,) float64 each ("complete": bool), are written again by the next update; copy
        what is to stay. NaN where `rolling` has it.

        Args:
            prices: (n,) float64. NaN says that an instrument has no new price: its metrics stay.
            gap: (n,) bool, something is missing before this price.

        Raises:
            ArgumentError: a price breaks a rule of `rolling`; no stream is then changed.
        """
        array = one_dimensional("prices", prices, np.float64)
        self._bank.update(array, as_gap(gap, values=array.size, value="price"), self._columns)
        return self._columns

    def snapshot(self) -> bytes:
        """Return the whole state, with the version of its layout and a checksum."""
        return self._bank.snapshot()

    @classmethod
    def restore(cls, snapshot: bytes) -> StreamBank:
        """Return the bank of a snapshot.

        Its updates give every metric that its streams compute: those asked for when it was made,
        and what comes with them (`Stream.computed`).

        Raises:
            ArgumentError: the bytes are no snapshot of a bank, damaged, or of a newer layout.
        """
        bank = _core.StreamBank.restore(snapshot)
        made = cls.__new__(cls)
        made._keep(bank, [name for name in METRICS if name in bank.computed])
        return made

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        return StreamBank.restore, (self.snapshot(),)
