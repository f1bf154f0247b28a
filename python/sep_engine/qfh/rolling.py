"""The metrics of the newest bits at every price."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from sep_engine import _core
from sep_engine.errors import ArgumentError
from sep_engine.qfh import tables
from sep_engine.qfh._arrays import (
    as_bits,
    as_gap,
    as_output,
    as_prices,
    as_results,
    as_stride,
    as_window,
    check_apart,
    check_filled,
)
from sep_engine.qfh.bits import Encoding
from sep_engine.qfh.calibration import (
    COLLAPSE_WINDOW_MIN,
    COUNT_METRICS,
    check_calibrated,
    distribution,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

BackendName = Literal["auto", "scalar", "simd", "cuda"]
Predictor = Literal["markov", "persistence", "majority8"]
Progress = Callable[[int, int], object]

CHEAP_METRICS: Final = (*COUNT_METRICS, "lambda_", "damped", "damped_anchored", "flat_ratio")
METRICS: Final = (
    *CHEAP_METRICS,
    "path_confidence",
    "path_similarity",
    "qbsa_error",
    "confidence",
    "confidence_low",
    "collapse",
)


class RollingMetrics:
    """Metrics of the newest `window` bits, one value for each price (or bit) in `index`.

    All arrays are (m,) float64 (or float32, if asked for), except `complete`. NaN until the window
    is full, and where a gap leaves too little: the count metrics and `collapse` need 3/4 of the
    transitions, `lambda_` the newest 20 bits without a gap, the others a window without a gap.
    Reading a metric that was not asked for raises AttributeError.

    Source of the formulas: docs/reference/qfh.md.

    Attributes:
        window: bits.
        encoding: of the prices; None for bits.
        predictor: of `qbsa_error`.
        index: (m,) int64, the price (or bit) that each value belongs to.
        times: (m,) of what the prices were labelled with: the index of a pandas series, or the
            datetime64[ns] values of `times`; None without labels.
        complete: (m,) bool, the window is full and has no gap in it.
        null_ratio, flip_ratio, rupture_ratio: shares of the pairs 00, (01 or 10), 11; 0..1.
        entropy: of the three states, over log2 3; 0..1.
        coherence: 1 minus the entropy in bits of the next bit given this one; 0..1.
        state_coherence: 1 - entropy.
        stability: 1 - flip_ratio.
        balance: rupture_ratio - null_ratio; -1..1.
        lambda_: decay rate from the newest 20 bits; 0.01..0.5.
        damped: sum of +1 and -1 for bits 1 and 0, weighted e^(-lambda k), k = 0 the newest.
        damped_anchored: the same of (bit - newest bit). Its sign is fixed by the newest bit, so it
            is never a direction.
        flat_ratio: share of the newest `window` prices that did not move. Not for bits.
        path_confidence: 1 / (1 + variance of the partial sums of `damped`, k = 1..window-1); 0..1.
        path_similarity: largest absolute cosine of those sums, centred, with a decay, a line and
            one period of a sine, centred; 0..1.
        qbsa_error: share of the newest `window` bits that the predictor, seeing only the `window`
            bits before each, got wrong; NaN until 2 * window bits.
        confidence, confidence_low: 1 - qbsa_error, and its Wilson 95 % lower bound.
        collapse: 1 if equal pairs of one kind fill `collapse_share` of the newest quarter of the
            transitions but not of the rest, else 0; NaN for windows below 32.
    """

    __slots__ = (
        *METRICS,
        "_index",
        "_rows",
        "complete",
        "encoding",
        "predictor",
        "times",
        "window",
    )

    window: int
    encoding: Encoding | None
    predictor: Predictor
    times: Any
    complete: NDArray[np.bool_]
    null_ratio: NDArray[np.float64]
    flip_ratio: NDArray[np.float64]
    rupture_ratio: NDArray[np.float64]
    entropy: NDArray[np.float64]
    coherence: NDArray[np.float64]
    state_coherence: NDArray[np.float64]
    stability: NDArray[np.float64]
    balance: NDArray[np.float64]
    lambda_: NDArray[np.float64]
    damped: NDArray[np.float64]
    damped_anchored: NDArray[np.float64]
    flat_ratio: NDArray[np.float64]
    path_confidence: NDArray[np.float64]
    path_similarity: NDArray[np.float64]
    qbsa_error: NDArray[np.float64]
    confidence: NDArray[np.float64]
    confidence_low: NDArray[np.float64]
    collapse: NDArray[np.float64]

    def __init__(
        self,
        *,
        window: int,
        encoding: Encoding | None,
        rows: range,
        columns: Mapping[str, NDArray[Any]],
        predictor: Predictor = "markov",
        times: Any = None,
    ) -> None:
        self.window = window
        self.encoding = encoding
        self.predictor = predictor
        self.times = times
        self._rows = rows
        self._index: NDArray[np.int64] | None = None
        for name, values in columns.items():
            setattr(self, name, values)

    def __getattr__(self, name: str) -> Any:
        if name in METRICS:
            raise AttributeError(f"{name} was not asked for: pass it in metrics")
        raise AttributeError(name)

    @property
    def index(self) -> NDArray[np.int64]:
        """(m,) int64, filled when it is asked for: a fifth of the bytes of ten metrics."""
        if self._index is None:
            rows = self._rows
            self._index = np.arange(rows.start, rows.stop, rows.step, dtype=np.int64)
        return self._index

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        bits = "bits" if self.encoding is None else self.encoding
        return (
            f"RollingMetrics({bits}, window={self.window}, {len(self)} values, "
            f"{int(self.complete.sum())} complete: {', '.join(self.columns)})"
        )

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """The metrics that were asked for, by name."""
        return {name: getattr(self, name) for name in METRICS if hasattr(self, name)}

    def _repr_html_(self) -> str:
        return tables.html(self)

    def to_pandas(self) -> pd.DataFrame:
        """Return a frame with a column for each metric and `complete`, (m, k).

        Its index is `times`; without times it is `index`, named "row".

        Raises:
            ImportError: pandas is not installed.
        """
        return tables.to_pandas(self)

    def to_arrow(self) -> pa.Table:
        """Return a table: `time`, or `row`, or an index without times as pandas names its columns;
        then each metric, and `complete`.

        `polars.from_arrow` reads it. NaN stays NaN, it does not become null.
        """
        return tables.to_arrow(self)

    def percentile(self, name: str) -> NDArray[np.float64]:
        """Return 100 P(X <= value) under a fair coin, (m,) float64 in 0..100.

        Exact for EXACT_METRICS (for `collapse` with a share of 0.6); simulated for
        SIMULATED_METRICS, with a standard error of at most 0.36 points, which
        `simulated_distribution(...).standard_error` tells.

        NaN where the window is not full or has a gap, and everywhere for encodings other than
        `moves`, whose bits are no fair coin even when prices are. Of float32 values, those less
        than 2^-24 apart are one.

        Args:
            name: one of CALIBRATED_METRICS.

        Raises:
            ArgumentError: another name.
        """
        check_calibrated(name)
        values = getattr(self, name)
        never = name == "collapse" and self.window < COLLAPSE_WINDOW_MIN
        if never or self.encoding not in (None, "moves"):
            return np.full(len(self), np.nan)
        tolerance = 2.0**-24 if values.dtype == np.float32 else 0.0
        coin = distribution(name, self.window)
        found = coin.percentiles(values.astype(np.float64), tolerance)
        return np.where(self.complete, found, np.nan)


def metric_names(metrics: Sequence[str] | Literal["all"] | None, *, of_bits: bool) -> list[str]:
    """Return the names of the metrics that `metrics` asks for."""
    if metrics is None:
        names = list(CHEAP_METRICS)
    elif isinstance(metrics, str) and metrics == "all":
        names = list(METRICS)
    elif isinstance(metrics, str) or not isinstance(metrics, Iterable):
        raise TypeError(f"metrics must be 'all' or a sequence of names, was {metrics!r}")
    else:
        names = list(metrics)
    for kind in map(type, names):
        if not issubclass(kind, str):
            what = kind.__name__
            raise TypeError(f"metrics must be a sequence of names, each a str, was {what}")
    if of_bits and "flat_ratio" in names:
        if metrics is not None and not isinstance(metrics, str):
            raise ArgumentError("metrics must not hold flat_ratio for bits: they have no prices")
        names.remove("flat_ratio")
    return names


def _columns(
    names: list[str],
    size: int,
    dtype: DTypeLike,
    out: Mapping[str, NDArray[Any]] | None,
    inputs: Mapping[str, NDArray[Any] | None],
) -> dict[str, NDArray[Any]]:
    """Return an array for each result: those of `out`, which share no memory, and fresh ones."""
    kind, given = as_results(names, dtype, out)
    columns = {
        name: as_output(name, given[name], size, np.float64, np.float32)
        if name in given
        else np.empty(size, dtype=kind)
        for name in names
    }
    columns["complete"] = (
        as_output("complete", given["complete"], size, np.bool_)
        if "complete" in given
        else np.empty(size, dtype=np.bool_)
    )
    if given:
        labelled = {f"out[{name!r}]": columns[name] for name in given}
        check_apart(
            labelled | {name: values for name, values in inputs.items() if values is not None}
        )
    return columns


def rolling(
    prices: ArrayLike,
    *,
    tick: float,
    window: int = 64,
    stride: int = 1,
    metrics: Sequence[str] | Literal["all"] | None = None,
    encoding: Encoding = "moves",
    gap: ArrayLike | None = None,
    times: ArrayLike | None = None,
    predictor: Predictor = "markov",
    collapse_share: float = 0.6,
    dtype: DTypeLike = np.float64,
    out: Mapping[str, NDArray[Any]] | None = None,
    backend: BackendName = "auto",
    threads: int = 0,
    progress: Progress | None = None,
) -> RollingMetrics:
    """Return the metrics of the newest `window` bits at every price.

    At a price that gives no bit (`moves`, equal price) the metrics stay as they were. Everything
    uses prices up to that one only. Python's lock is released; Ctrl-C is heard.

    Args:
        prices: (n,) float64, oldest first, finite, > 0, multiples of `tick` within 1e-3 of it. A
            pandas or Polars series or a PyArrow column will do.
        tick: the price step, > 0. Of a mid series: half the quote's tick.
        window: bits, 8 to 1024; n must be at least window + 1.
        stride: give values for prices 0, stride, 2 stride and so on; the same values as without.
        metrics: names (`METRICS`), or "all"; by default `CHEAP_METRICS`. The path metrics take
            time in proportion to the window.
        encoding: `moves`, `tick_carry`, `strict_up` or `pip_trunc_carry`, as in `encode`.
        gap: (n,) bool, something is missing before this price; the transition into its bit is then
            not valid. Of two pandas series the labels must be equal.
        times: (n,) of the prices, strictly increasing: datetime64, PyArrow timestamps or int64 ns
            since 1970 UTC. A pandas series brings its index along, one of times too must increase.
            They only label the results.
        predictor: of `qbsa_error`: `markov` (what followed the last bit more often in the window),
            `persistence` or `majority8`; a tie repeats the last bit.
        collapse_share: of `collapse`, in (0, 1].
        dtype: float64, or float32 rounded once from it.
        out: arrays to write into, by metric (or "complete"): (m,), float64 or float32, contiguous,
            sharing no memory with each other or with `prices` and `gap`. After an error or Ctrl-C
            what they hold is not defined.
        backend: `auto` is the fastest on this machine's processor. A backend that is named and
            cannot run here is an error, never replaced. All give the same bytes.
        threads: of CPU backends; 0: as many as the machine has. The result does not depend on it.
        progress: called with prices done and prices in all, from time to time.

    Raises:
        ArgumentError: a rule is broken; the message names the argument and the first bad row.
        TypeError: an array has another dtype.
        BackendError: the named backend cannot run here.
    """
    array = as_prices(prices)
    mask = as_gap(gap, values=array.size, value="price")
    tables.check_index(prices, gap)
    labels = tables.labels(prices, times, array.size)
    size = as_window(window)
    check_filled(size, values=array.size, needed=size + 1, values_name="prices")
    names = metric_names(metrics, of_bits=False)
    step = as_stride(stride)
    roller = _core.Roller(
        tick=tick,
        window=size,
        stride=step,
        encoding=encoding,
        metrics=names,
        predictor=predictor,
        collapse_share=collapse_share,
        backend=backend,
        threads=threads,
    )
    inputs = {"prices": array, "gap": mask}
    columns = _columns(names, roller.outputs_of(array.size), dtype, out, inputs)
    roller.take_prices(array, mask, columns, progress)
    return RollingMetrics(
        window=size,
        encoding=encoding,
        rows=range(0, array.size, step),
        columns=columns,
        predictor=predictor,
        times=None if labels is None else labels[::step],
    )


def rolling_bits(
    bits: ArrayLike,
    *,
    window: int = 64,
    stride: int = 1,
    metrics: Sequence[str] | Literal["all"] | None = None,
    gap: ArrayLike | None = None,
    predictor: Predictor = "markov",
    collapse_share: float = 0.6,
    dtype: DTypeLike = np.float64,
    out: Mapping[str, NDArray[Any]] | None = None,
    backend: BackendName = "auto",
    threads: int = 0,
    progress: Progress | None = None,
) -> RollingMetrics:
    """Return the metrics of the newest `window` bits at every bit.

    Args:
        bits: (n,) uint8 or bool, 0 or 1, oldest first, n >= window.
        gap: (n,) bool, the transition into this bit is not valid.

    The other arguments and the errors are those of `rolling`.
    """
    array = as_bits(bits)
    mask = as_gap(gap, values=array.size, value="bit")
    size = as_window(window)
    check_filled(size, values=array.size, needed=size, values_name="bits")
    names = metric_names(metrics, of_bits=True)
    step = as_stride(stride)
    roller = _core.Roller(
        tick=1.0,
        window=size,
        stride=step,
        encoding="moves",
        metrics=names,
        predictor=predictor,
        collapse_share=collapse_share,
        backend=backend,
        threads=threads,
    )
    inputs = {"bits": array, "gap": mask}
    columns = _columns(names, roller.outputs_of(array.size), dtype, out, inputs)
    roller.take_bits(array, mask, columns, progress)
    return RollingMetrics(
        window=size,
        encoding=None,
        rows=range(0, array.size, step),
        columns=columns,
        predictor=predictor,
    )


def rolling_chunks(
    chunks: Iterable[ArrayLike],
    *,
    tick: float,
    window: int = 64,
    stride: int = 1,
    metrics: Sequence[str] | Literal["all"] | None = None,
    encoding: Encoding = "moves",
    gaps: Iterable[ArrayLike | None] | None = None,
    predictor: Predictor = "markov",
    collapse_share: float = 0.6,
    dtype: DTypeLike = np.float64,
    backend: BackendName = "auto",
    threads: int = 0,
) -> Iterator[RollingMetrics]:
    """Yield the metrics of a series that comes in chunks, for data larger than memory.

    The chunks are one series: joined, the results are those of `rolling`. `index` counts from the
    first price of the first chunk. Memory is bounded by the largest chunk. A memory-mapped file
    that another program makes shorter ends the process with SIGBUS, as it does in NumPy: copy
    slices of a file that may change.

    Args:
        chunks: (k,) float64 each, for instance slices of a memory-mapped array or the batches of
            a Parquet file.
        gaps: for each chunk a (k,) bool mask or None, as `gap` of `rolling`.

    The other arguments and the errors are those of `rolling`. A chunk with a bad price ends the
    series: those before it have been given.
    """
    names = metric_names(metrics, of_bits=False)
    size = as_window(window)
    step = as_stride(stride)
    roller = _core.Roller(
        tick=tick,
        window=size,
        stride=step,
        encoding=encoding,
        metrics=names,
        predictor=predictor,
        collapse_share=collapse_share,
        backend=backend,
        threads=threads,
    )
    masks = itertools.repeat(None) if gaps is None else iter(gaps)
    first = 0
    for chunk in chunks:
        array = as_prices(chunk)
        try:
            mask = as_gap(next(masks), values=array.size, value="price")
        except StopIteration:
            raise ArgumentError("gaps must have one mask, or None, for each chunk") from None
        columns = _columns(names, roller.outputs_of(array.size), dtype, None, {})
        roller.take_prices(array, mask, columns, None)
        yield RollingMetrics(
            window=size,
            encoding=encoding,
            rows=range(first + -first % step, first + array.size, step),
            columns=columns,
            predictor=predictor,
        )
        first += array.size


def rolling_many(
    series: Sequence[ArrayLike],
    *,
    tick: float | Sequence[float],
    gaps: Sequence[ArrayLike | None] | None = None,
    **options: Any,
) -> tuple[RollingMetrics, ...]:
    """Return the metrics of many series of any lengths.

    Args:
        series: price arrays, as `rolling` takes them.
        tick: one for all, or one for each series.
        gaps: one gap mask, or None, for each series.
        options: the other arguments of `rolling`, for all series.

    Raises:
        ArgumentError, TypeError: as `rolling`; the message begins with the number of the series.
    """
    # A mapping and a frame would be taken for their keys.
    if not hasattr(series, "__len__") or hasattr(series, "keys"):
        kind = type(series).__name__
        raise TypeError(f"series must be a sequence of price arrays, was {kind}")
    ticks = [tick] * len(series) if np.ndim(tick) == 0 else list(tick)  # type: ignore[arg-type]
    masks = [None] * len(series) if gaps is None else list(gaps)
    if len(ticks) != len(series) or len(masks) != len(series):
        raise ArgumentError(
            f"tick and gaps must have one value per series, {len(series)}, "
            f"had {len(ticks)} and {len(masks)}"
        )
    results = []
    for number, (prices, step, mask) in enumerate(zip(series, ticks, masks, strict=True)):
        try:
            results.append(rolling(prices, tick=step, gap=mask, **options))  # type: ignore[arg-type]
        except (ArgumentError, TypeError) as error:
            raise type(error)(f"series {number}: {error}") from error
    return tuple(results)
