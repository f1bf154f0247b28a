"""Rolling metrics of series that lie on a GPU, with results that stay there."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import DTypeLike

from sep_engine import _core
from sep_engine._core import DeviceArray
from sep_engine.errors import ArgumentError
from sep_engine.qfh._arrays import (
    as_bits,
    as_number,
    as_prices,
    as_results,
    as_stride,
    as_whole,
    as_window,
    as_word,
    check_filled,
    one_dimensional,
)
from sep_engine.qfh.bits import Encoding
from sep_engine.qfh.rolling import METRICS, Predictor, Progress, RollingMetrics, metric_names


class DeviceRollingMetrics(Mapping[str, DeviceArray]):
    """Metrics of the newest `window` bits in the memory of a GPU, by name, and "complete".

    Each value is a `DeviceArray` of (m,) float32 or float64 (`complete`: bool) that CuPy, PyTorch
    and others take without a copy: `cupy.from_dlpack(metrics["entropy"])`. It is the array that was
    given where `out` held one. The memory is freed with the last array that refers to it.

    Attributes:
        window: bits.
        encoding: of the prices; None for bits.
        predictor: of `qbsa_error`.
        stride: prices (or bits) from one value to the next.
        size: prices (or bits) in the series.
        device: the number of the GPU.
    """

    __slots__ = ("_columns", "device", "encoding", "predictor", "size", "stride", "window")

    def __init__(
        self,
        columns: Mapping[str, Any],
        *,
        window: int,
        encoding: Encoding | None,
        predictor: Predictor,
        stride: int,
        size: int,
        device: int,
    ) -> None:
        self._columns = dict(columns)
        self.window = window
        self.encoding = encoding
        self.predictor = predictor
        self.stride = stride
        self.size = size
        self.device = device

    def __getitem__(self, name: str) -> Any:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        bits = "bits" if self.encoding is None else self.encoding
        values = len(range(0, self.size, self.stride))
        return (
            f"DeviceRollingMetrics({bits}, window={self.window}, {values} values on device "
            f"{self.device}: {', '.join(self)})"
        )

    def to_numpy(self) -> RollingMetrics:
        """Return a copy in the memory of the host."""
        columns = {name: _core.to_host(name, array) for name, array in self._columns.items()}
        return RollingMetrics(
            window=self.window,
            encoding=self.encoding,
            predictor=self.predictor,
            rows=range(0, self.size, self.stride),
            columns=columns,
        )


def is_on_device(array: object) -> bool:
    """Return whether an array lies on a GPU: by DLPack, or by the CUDA array interface."""
    if hasattr(array, "__dlpack_device__"):
        return bool(array.__dlpack_device__()[0] != _DLPACK_CPU)
    return hasattr(array, "__cuda_array_interface__")


_DLPACK_CPU = 1


_Key = tuple[float, int, int, str, tuple[str, ...], str, float, int]


class _KeptRollers:
    """Rollers without a series, the newest last: a window's tables are made once for many calls.

    A roller that a call has taken is no other call's, so that threads do not share one. One that a
    call has failed with is not kept.
    """

    def __init__(self) -> None:
        self._rollers: list[tuple[_Key, _core.DeviceRoller]] = []
        self._lock = threading.Lock()

    def take(self, key: _Key) -> _core.DeviceRoller:
        with self._lock:
            for place in reversed(range(len(self._rollers))):
                if self._rollers[place][0] == key:
                    return self._rollers.pop(place)[1]
        tick, window, stride, encoding, metrics, predictor, collapse_share, device = key
        return _core.DeviceRoller(
            tick=tick,
            window=window,
            stride=stride,
            encoding=encoding,
            metrics=metrics,
            predictor=predictor,
            collapse_share=collapse_share,
            device=device,
        )

    def keep(self, key: _Key, roller: _core.DeviceRoller) -> None:
        roller.forget()
        with self._lock:
            self._rollers.append((key, roller))
            too_old = self._rollers[:-_KEPT_MAX]
            self._rollers = self._rollers[-_KEPT_MAX:]
        del too_old  # their memory is freed without the lock


_KEPT_MAX: Final = 8
_KEPT: Final = _KeptRollers()


def rolling_device(
    prices: object,
    *,
    tick: float,
    window: int = 64,
    stride: int = 1,
    metrics: Sequence[str] | Literal["all"] | None = None,
    encoding: Encoding = "moves",
    gap: object = None,
    predictor: Predictor = "markov",
    collapse_share: float = 0.6,
    dtype: DTypeLike = np.float32,
    out: Mapping[str, Any] | None = None,
    device: int = 0,
    progress: Progress | None = None,
) -> DeviceRollingMetrics:
    """Return the metrics of the newest `window` bits at every price, on a GPU.

    The values are those of `rolling`, to the last bit. They are there when the call returns, so no
    stream has to be waited for; arrays that are passed are read in the order of the streams of the
    library that they come from. Python's lock is released; Ctrl-C is heard.

    Args:
        prices: (n,) float64 on a GPU (CuPy, PyTorch and others, contiguous), or in the memory of
            the host, from where it is copied; values as in `rolling`.
        gap: (n,) bool, on the same GPU or on the host.
        dtype: float32, rounded once from float64, or float64. The metrics of `CHEAP_METRICS` are
            several times faster as float32 with a window of at least 32.
        out: arrays on the GPU to write into, by metric (or "complete"): (m,), float32 or float64
            (bool), contiguous, writable.
        device: the GPU, as CUDA counts the visible ones, where `prices` lie on the host.

    The other arguments are those of `rolling`.

    Raises:
        ArgumentError: a rule is broken; the message names the argument and the first bad row.
        TypeError: an array has another dtype, or is none.
        BackendError: there is no such GPU here, or it has too little memory left.
    """
    return _rolling(
        prices,
        of_bits=False,
        tick=tick,
        window=window,
        stride=stride,
        metrics=metrics,
        encoding=encoding,
        gap=gap,
        predictor=predictor,
        collapse_share=collapse_share,
        dtype=dtype,
        out=out,
        device=device,
        progress=progress,
    )


def rolling_bits_device(
    bits: object,
    *,
    window: int = 64,
    stride: int = 1,
    metrics: Sequence[str] | Literal["all"] | None = None,
    gap: object = None,
    predictor: Predictor = "markov",
    collapse_share: float = 0.6,
    dtype: DTypeLike = np.float32,
    out: Mapping[str, Any] | None = None,
    device: int = 0,
    progress: Progress | None = None,
) -> DeviceRollingMetrics:
    """Return the metrics of the newest `window` bits at every bit, on a GPU.

    Args:
        bits: (n,) uint8 or bool, 0 or 1, oldest first, n >= window; on a GPU or on the host.
        gap: (n,) bool, the transition into this bit is not valid.

    The other arguments and the errors are those of `rolling_device`.
    """
    return _rolling(
        bits,
        of_bits=True,
        tick=1.0,
        window=window,
        stride=stride,
        metrics=metrics,
        encoding="moves",
        gap=gap,
        predictor=predictor,
        collapse_share=collapse_share,
        dtype=dtype,
        out=out,
        device=device,
        progress=progress,
    )


def _rolling(
    values: Any,
    *,
    of_bits: bool,
    tick: float,
    window: int,
    stride: int,
    metrics: Sequence[str] | Literal["all"] | None,
    encoding: Encoding,
    gap: Any,
    predictor: Predictor,
    collapse_share: float,
    dtype: DTypeLike,
    out: Mapping[str, Any] | None,
    device: int,
    progress: Progress | None,
) -> DeviceRollingMetrics:
    names = metric_names(metrics, of_bits=of_bits)
    kind, given = as_results(names, dtype, out)
    device = as_whole("device", device, low=0, high=2**31 - 1)
    host = None
    if is_on_device(values):
        device = _core.device_of(values)
    else:
        host = as_bits(values) if of_bits else as_prices(values)
        if host.size == 0:
            raise ArgumentError(f"{'bits' if of_bits else 'prices'} must not be empty")
    window = as_window(window)
    stride = as_stride(stride)
    key = (
        as_number("tick", tick),
        window,
        stride,
        as_word("encoding", encoding),
        tuple(names),
        as_word("predictor", predictor),
        as_number("collapse_share", collapse_share),
        device,
    )
    roller = _KEPT.take(key)
    if host is not None:
        values = _core.to_device(host, device)
    if gap is not None and not is_on_device(gap):
        gap = _core.to_device(one_dimensional("gap", gap, np.bool_), device)
    size = roller.take_bits(values, gap) if of_bits else roller.take_prices(values, gap)
    values_name, needed = ("bits", window) if of_bits else ("prices", window + 1)
    check_filled(window, values=size, needed=needed, values_name=values_name)
    new = {
        name: "bool" if name == "complete" else str(kind)
        for name in (*names, "complete")
        if name not in given
    }
    count = len(range(0, size, stride))
    arrays = _core.device_arrays(count, list(new.values()), device)
    columns = given | dict(zip(new, arrays, strict=True))
    columns = {name: columns[name] for name in (*METRICS, "complete") if name in columns}
    roller.run(columns, progress)
    _KEPT.keep(key, roller)
    return DeviceRollingMetrics(
        columns,
        window=window,
        encoding=None if of_bits else encoding,
        predictor=predictor,
        stride=stride,
        size=size,
        device=device,
    )
