from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

__version__: str

def backends() -> list[tuple[str, bool, str]]: ...
def pack(bits: NDArray[np.uint8], /) -> NDArray[np.uint64]: ...
def unpack(words: NDArray[np.uint64], size: int, /) -> NDArray[np.uint8]: ...
def encode(
    prices: NDArray[np.float64], tick: float, encoding: str, gap: NDArray[np.uint8] | None, /
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8]]: ...
def table_bytes(window: int, /) -> dict[str, bytes]: ...
def legacy_analyze(bits: NDArray[np.uint8], /) -> LegacyAnalysis: ...
def legacy_trajectory(bits: NDArray[np.uint8], anchor: int, /) -> LegacyTrajectory: ...
def legacy_path_similarity(path: NDArray[np.float64], /) -> float: ...
def legacy_cosine(a: NDArray[np.float64], b: NDArray[np.float64], /) -> float: ...
def legacy_qbsa(probes: NDArray[np.uint32], expectations: NDArray[np.uint32], /) -> LegacyQbsa: ...
def daily_t_values(
    sums: NDArray[np.int64], squares: NDArray[np.int64], days: int, /
) -> NDArray[np.float64]: ...

class Iaaft:
    """Surrogates of a (n,) float64 series with its values and nearly its spectrum."""

    def __init__(self, series: NDArray[np.float64], /) -> None: ...
    def order(self, seed: int, index: int, rounds_max: int, /) -> tuple[NDArray[np.int32], int]: ...
    def orders_on_gpu(
        self, seed: int, first: int, count: int, rounds_max: int, /
    ) -> tuple[NDArray[np.int32], list[int]]: ...

class SweepDecisions:
    """Decisions, which point into a list of gates; many `SweepRules` may have them in common."""

    def __init__(
        self,
        *,
        gate_metrics: NDArray[np.int32],
        gate_ranges: NDArray[np.float64],
        decisions: NDArray[np.int32],
    ) -> None: ...

class SweepRules:
    """Rules as places in lists of decisions and exits; None: each decision with each exit."""

    def __init__(
        self,
        *,
        decisions: SweepDecisions,
        exits: NDArray[np.int32],
        rules: NDArray[np.int32] | None,
    ) -> None: ...
    def __len__(self) -> int: ...

class Sweep:
    """Sweeps over bars, which it keeps."""

    def __init__(
        self,
        *,
        open: NDArray[np.int32],
        high: NDArray[np.int32],
        low: NDArray[np.int32],
        close: NDArray[np.int32],
        bid_off: NDArray[np.int32],
        ask_off: NDArray[np.int32],
        day: NDArray[np.int32],
        price: NDArray[np.float64],
        gap: NDArray[np.uint8] | None,
        counts: NDArray[np.uint8] | None = None,
        per_side: int,
        tick: float,
        backend: str,
        threads: int,
    ) -> None: ...
    @property
    def lanes(self) -> int:
        """Blocks of rules that are worked on at a time."""
    def begin(
        self,
        rules: SweepRules,
        sinks: list[tuple[NDArray[np.int64], int, int, int]],
        best: int,
        sharpe: bool,
        days: int,
        /,
    ) -> None:
        """Put a block in the queue. Each sink is (array, first, width, pitch): rule i of the block
        is column first + i // width * pitch + i % width of a (13, rules) array."""
    def finish(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Wait for the oldest block; return places and (13, m) figures of its best rules."""
    def clear(self) -> None:
        """End and forget all blocks; nobody writes into a sink any more."""
    def best(
        self,
        rules: SweepRules,
        kind: str,
        seed: int,
        block: float,
        first: int,
        sharpe: bool,
        statistics: NDArray[np.float64],
        numbers: NDArray[np.int64],
        /,
    ) -> None:
        """Write the best statistic and its rule in surrogates from `first` on."""
    def panels(
        self, rules: SweepRules, panels: dict[str, NDArray[np.int64]], trades: NDArray[np.int64], /
    ) -> None:
        """Write (days, rules) sums by the day of the decision: of what the panels are named.

        Names: "gross" and "net" ticks, trades that "won" or "lost" before costs.
        """
    def best_by_days(
        self,
        rules: SweepRules,
        kind: str,
        seed: int,
        block: float,
        first: int,
        cuts: NDArray[np.int32],
        t_values: NDArray[np.float64],
        numbers: NDArray[np.int64],
        days: NDArray[np.int64],
        /,
    ) -> None:
        """Write the best rules of surrogates from `first` on, as many as `t_values` has rows.

        cuts: (C,) numbers of days. t_values, numbers: (worlds, C), the largest t value of the
        daily net ticks before each cut, and its rule. days: (worlds, C, T) that rule's net ticks.
        """
    def best_by_days_of(
        self,
        rules: SweepRules,
        prices: NDArray[np.int32],
        cuts: NDArray[np.int32],
        t_values: NDArray[np.float64],
        numbers: NDArray[np.int64],
        days: NDArray[np.int64],
        /,
    ) -> None:
        """The same in (worlds, 4, n) open, high, low and close."""
    def surrogate(
        self, kind: str, seed: int, block: float, index: int, /
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """Return open, high, low and close of a surrogate."""

@final
class CoinDistribution:
    """The exact distribution of a metric over fair coin tosses."""

    def __init__(self, metric: str, window: int, /) -> None: ...
    @property
    def mean(self) -> float: ...
    @property
    def atoms(self) -> NDArray[np.float64]: ...
    @property
    def cumulative(self) -> NDArray[np.float64]: ...
    def percentile(self, value: float, /) -> float: ...
    def percentiles(
        self, values: NDArray[np.float64], tolerance: float = 0.0, /
    ) -> NDArray[np.float64]: ...

class Roller:
    """The rolling metrics of one series, taken in chunks of any size."""

    def __init__(
        self,
        *,
        tick: float,
        window: int,
        stride: int,
        encoding: str,
        metrics: Sequence[str],
        predictor: str,
        collapse_share: float,
        backend: str,
        threads: int,
    ) -> None: ...
    def outputs_of(self, prices: int, /) -> int:
        """Return how many values the next `prices` prices give."""
    def take_prices(
        self,
        prices: NDArray[np.float64],
        gap: NDArray[np.uint8] | None,
        columns: dict[str, NDArray[Any]],
        progress: Callable[[int, int], object] | None,
        /,
    ) -> None: ...
    def take_bits(
        self,
        bits: NDArray[np.uint8],
        gap: NDArray[np.uint8] | None,
        columns: dict[str, NDArray[Any]],
        progress: Callable[[int, int], object] | None,
        /,
    ) -> None: ...

@final
class DeviceArray:
    """One-dimensional memory of a GPU: DLPack and the CUDA array interface give it to others."""

    @property
    def size(self) -> int: ...
    @property
    def shape(self) -> tuple[int]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def device(self) -> int:
        """The number of the GPU, as CUDA counts the visible ones."""
    def __len__(self) -> int: ...
    def to_numpy(self) -> NDArray[Any]:
        """Return a copy in the memory of the host."""
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def __dlpack__(
        self,
        *,
        stream: object = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object: ...
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...

def device_arrays(size: int, dtypes: Sequence[str], device: int, /) -> list[DeviceArray]: ...
def to_device(array: NDArray[Any], device: int, /) -> DeviceArray: ...
def to_host(name: str, array: object, /) -> NDArray[Any]:
    """Return a copy of an array on a GPU, of whichever library."""

def device_of(array: object, /) -> int:
    """Return the number of the GPU that an array lies on."""

class DeviceRoller:
    """The rolling metrics of one series that lies on a GPU."""

    def __init__(
        self,
        *,
        tick: float,
        window: int,
        stride: int,
        encoding: str,
        metrics: Sequence[str],
        predictor: str,
        collapse_share: float,
        device: int,
    ) -> None: ...
    def take_prices(self, prices: object, gap: object, /) -> int:
        """Take the series in and return its size."""
    def take_bits(self, bits: object, gap: object, /) -> int: ...
    def forget(self) -> None:
        """Give the memory of the series back."""
    def run(
        self, columns: dict[str, Any], progress: Callable[[int, int], object] | None, /
    ) -> None:
        """Write the results, and return when they are there."""

@final
class StreamMetrics:
    """What a stream knows after a price: the metrics of `RollingMetrics` as numbers."""

    @property
    def null_ratio(self) -> float: ...
    @property
    def flip_ratio(self) -> float: ...
    @property
    def rupture_ratio(self) -> float: ...
    @property
    def entropy(self) -> float: ...
    @property
    def coherence(self) -> float: ...
    @property
    def state_coherence(self) -> float: ...
    @property
    def stability(self) -> float: ...
    @property
    def balance(self) -> float: ...
    @property
    def lambda_(self) -> float: ...
    @property
    def damped(self) -> float: ...
    @property
    def damped_anchored(self) -> float: ...
    @property
    def path_confidence(self) -> float: ...
    @property
    def path_similarity(self) -> float: ...
    @property
    def qbsa_error(self) -> float: ...
    @property
    def confidence(self) -> float: ...
    @property
    def confidence_low(self) -> float: ...
    @property
    def collapse(self) -> float: ...
    @property
    def flat_ratio(self) -> float: ...
    @property
    def complete(self) -> bool:
        """The window is full and has no gap in it."""
    @property
    def window(self) -> int: ...
    @property
    def last_bit(self) -> int | None: ...
    @property
    def run_length(self) -> int:
        """Newest equal bits; a gap starts a new run."""
    @property
    def bits_seen(self) -> int: ...
    def percentile(self, name: str, /) -> float:
        """Return what `RollingMetrics.percentile` holds for this price; NaN where there is none."""

@final
class Stream:
    """The rolling metrics one price at a time, equal to `rolling` to the last bit."""

    def __init__(
        self,
        *,
        tick: float,
        window: int = 64,
        encoding: str = "moves",
        metrics: Sequence[str] = ...,
        predictor: str = "markov",
        collapse_share: float = 0.6,
    ) -> None:
        """Arguments as in `rolling`. Metrics that are not asked for are NaN."""
    @property
    def computed(self) -> tuple[str, ...]:
        """The metrics that are not left NaN: those asked for, and what comes with them."""
    @property
    def predictor(self) -> str: ...
    @property
    def collapse_share(self) -> float: ...
    @property
    def tick(self) -> float: ...
    @property
    def window(self) -> int: ...
    @property
    def encoding(self) -> str: ...
    @property
    def metrics(self) -> StreamMetrics:
        """What the last update returned."""
    def update(self, price: float, gap: bool = False) -> StreamMetrics:
        """Take in the next price; `gap` says that something is missing before it.

        Raises ArgumentError, and leaves the stream as it was, if the price is not finite, not > 0
        or off the tick.
        """
    def snapshot(self) -> bytes:
        """Return the whole state, with the version of its layout and a checksum."""
    @staticmethod
    def restore(snapshot: bytes) -> Stream:
        """Return the stream of a snapshot; ArgumentError if it is none or damaged."""

@final
class StreamBank:
    def __init__(
        self,
        ticks: NDArray[np.float64],
        window: int,
        encoding: str,
        metrics: Sequence[str],
        predictor: str,
        collapse_share: float,
        /,
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def computed(self) -> tuple[str, ...]: ...
    @property
    def kind(self) -> str:
        """The window and the encoding as text."""
    def snapshot(self) -> bytes: ...
    @staticmethod
    def restore(snapshot: bytes, /) -> StreamBank: ...
    def update(
        self,
        prices: NDArray[np.float64],
        gap: NDArray[np.uint8] | None,
        columns: dict[str, NDArray[Any]],
        /,
    ) -> None: ...

class LegacyTrajectory:
    @property
    def lambda_(self) -> float | None: ...
    @property
    def value(self) -> float: ...
    @property
    def confidence(self) -> float: ...
    @property
    def converged(self) -> bool: ...
    @property
    def similarity(self) -> float: ...
    @property
    def path(self) -> NDArray[np.float64]: ...

class LegacyAnalysis:
    @property
    def null(self) -> int: ...
    @property
    def flip(self) -> int: ...
    @property
    def rupture(self) -> int: ...
    @property
    def flip_ratio(self) -> float: ...
    @property
    def rupture_ratio(self) -> float: ...
    @property
    def entropy(self) -> float: ...
    @property
    def coherence(self) -> float: ...
    @property
    def V0(self) -> float: ...  # noqa: N802
    @property
    def lambda_(self) -> float | None: ...
    @property
    def traj_confidence(self) -> float: ...
    @property
    def path_similarity(self) -> float: ...
    @property
    def runs(self) -> list[tuple[int, str, int]]:
        """Index of the first transition, state (N, F or R) and length of each run."""
    def collapse(self, threshold: float = 0.5) -> bool: ...

class LegacyQbsa:
    @property
    def corrections(self) -> list[int]: ...
    @property
    def correction_ratio(self) -> float: ...
    def collapse(self, threshold: float = 0.6, *, total_bits: int | None = None) -> bool: ...
