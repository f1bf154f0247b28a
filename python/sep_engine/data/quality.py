"""What is wrong with a table, and what is merely worth knowing.

Errors block the use of the data until each is accepted by name; warnings travel with every result.

| finding | severity | meaning |
|---|---|---|
| bad_row | error | a row that cannot be read |
| price_not_positive | error | a price <= 0 |
| bar_inconsistent | error | open or close outside low..high |
| backward_step | error | a time before that of the row above |
| duplicate_time | error | a time equal to that of the row above |
| crossed_quote | error | bid above ask |
| looks_generated | error | steps of the close as from a random number generator: no fat tails |
| gap | warning | bars missing while the market was open |
| closed_hours | warning | rows at times when the calendar says that the market is closed |
| unchanged_close | warning | closes equal to the close before: no move, so no bit |
| stale_run | warning | ten or more equal closes in a row |
| outlier | warning | a step of the close of more than 20 robust standard deviations |
| zero_volume | warning | bars with volume 0: the source may have none |
| zero_spread | warning | quotes with bid equal to ask |
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from sep_engine.data.table import BAR_COLUMNS, Table
from sep_engine.model.calendar import missing_bars, open_mask

ERRORS = (
    "bad_row",
    "price_not_positive",
    "bar_inconsistent",
    "backward_step",
    "duplicate_time",
    "crossed_quote",
    "looks_generated",
)
# Rows that the engine can still be asked about when a person says so. The other errors leave
# nothing to compute with.
ACCEPTABLE = (
    "bad_row",
    "bar_inconsistent",
    "duplicate_time",
    "crossed_quote",
    "looks_generated",
)

STALE_RUN_CLOSES = 10
OUTLIER_DEVIATIONS = 20.0
# Returns of markets have fat tails and calm and wild spells; those of a generator of normal numbers
# have kurtosis 3 and no memory of size. Both must be missing over this many steps.
GENERATED_STEPS_MIN = 1000
GENERATED_KURTOSIS_MAX = 3.6
GENERATED_MEMORY_MAX = 0.05
# Median absolute deviation to standard deviation of a normal distribution.
_MAD_TO_SD = 1.4826


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of defect.

    Attributes:
        kind: one of the table above.
        count: rows that have it.
        first_line: of the first of them; in Parquet, its row from 1.
        text: what it is, for people.
    """

    kind: str
    count: int
    first_line: int
    text: str

    @property
    def is_error(self) -> bool:
        """It blocks the use of the data until it is accepted by name."""
        return self.kind in ERRORS


@dataclass(frozen=True, slots=True)
class QualityReport:
    """All findings about one table, errors first, and the figures that describe it.

    Attributes:
        path, sha256, rows: of the table.
        first_ns, last_ns: nanoseconds since 1970 UTC of its first and last row; None without rows.
        calendar: what it was looked at by.
        duration: the usual step between rows; None when no step is usual (ticks).
        missing_bars: bars missing in open hours, in all.
        longest_gap_bars: the most of them in one place.
        unchanged_fraction: share of closes (or mids) equal to the one before, 0..1.
        median_spread: of quotes, in price; None for bars.
    """

    path: str
    sha256: str
    rows: int
    first_ns: int | None
    last_ns: int | None
    calendar: str
    duration: timedelta | None
    missing_bars: int
    longest_gap_bars: int
    unchanged_fraction: float
    median_spread: float | None
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that block the use of the data."""
        return tuple(finding for finding in self.findings if finding.is_error)


def usual_duration(times: NDArray[np.int64]) -> timedelta | None:
    """Return the step that at least half of the rows take; None when there is no such step.

    times: (n,) int64 nanoseconds, in file order.
    """
    steps, counts = np.unique(np.diff(times), return_counts=True)
    if steps.size == 0:
        return None
    usual = int(counts.argmax())
    if steps[usual] <= 0 or 2 * counts[usual] < counts.sum():
        return None
    return timedelta(microseconds=int(steps[usual]) // 1000)


def inspect(table: Table, *, calendar: str = "fx") -> QualityReport:
    """Return everything that the tests above find in `table`.

    calendar: "fx" or "always"; decides which missing bars are gaps and which hours are closed.

    Raises:
        ArgumentError: another calendar.
    """
    findings: list[Finding] = []

    def note(kind: str, rows: NDArray[np.bool_], text: str) -> None:
        places = np.flatnonzero(rows)
        if places.size:
            findings.append(Finding(kind, int(places.size), int(table.lines[places[0]]), text))

    if table.bad_rows:
        first = table.bad_rows[0]
        findings.append(Finding("bad_row", len(table.bad_rows), first.line, first.reason))

    prices = [name for name in table.columns if name != "volume"]
    for name in prices:
        note("price_not_positive", table.columns[name] <= 0, f"{name} <= 0")
    # The first row has no row above it: let it differ from that.
    steps = np.diff(table.times, prepend=table.times[:1] - 1)
    note("backward_step", steps < 0, "the time is before that of the row above")
    note("duplicate_time", steps == 0, "the time is that of the row above")

    median_spread = None
    if table.has_bars:
        closes = table.columns["close"]
        corners = np.stack([table.columns[name] for name in BAR_COLUMNS])
        outside = (corners.min(axis=0) < table.columns["low"]) | (
            corners.max(axis=0) > table.columns["high"]
        )
        note("bar_inconsistent", outside, "open or close lies outside low..high")
    else:
        bid, ask = table.columns["bid"], table.columns["ask"]
        closes = np.round((bid + ask) / 2, 9)  # equal mids must be equal numbers
        note("crossed_quote", bid > ask, "bid is above ask")
        if bid.size:
            median_spread = float(np.median(ask - bid))

    duration = usual_duration(table.times)
    missing = np.zeros(table.times.shape, dtype=np.int64)
    if duration is not None and (steps >= 0).all():
        missing = missing_bars(table.times, duration, calendar)
        note("gap", missing > 0, f"bars missing while the market was open: {missing.sum()} in all")
    note("closed_hours", ~open_mask(table.times, calendar), f"calendar '{calendar}' is closed")

    unchanged = np.diff(closes, prepend=closes[:1] - 1) == 0
    note("unchanged_close", unchanged, f"{100 * _fraction(unchanged):.2f} % of all rows")
    note("stale_run", _run_lengths(unchanged) >= STALE_RUN_CLOSES - 1, "the same close goes on")
    note("outlier", _outliers(closes), f"a step above {OUTLIER_DEVIATIONS:.0f} robust deviations")
    generated = np.zeros(closes.shape, dtype=np.bool_)
    generated[:1] = _looks_generated(closes)
    note(
        "looks_generated",
        generated,
        "steps of the close have neither fat tails nor calm and wild spells, as generated ones",
    )
    if "volume" in table.columns:
        note("zero_volume", table.columns["volume"] == 0, "volume is 0")
    if not table.has_bars:
        note("zero_spread", table.columns["bid"] == table.columns["ask"], "bid equals ask")

    return QualityReport(
        path=str(table.path),
        sha256=table.sha256,
        rows=table.times.size,
        first_ns=int(table.times[0]) if table.times.size else None,
        last_ns=int(table.times[-1]) if table.times.size else None,
        calendar=calendar,
        duration=duration,
        missing_bars=int(missing.sum()),
        longest_gap_bars=int(missing.max(initial=0)),
        unchanged_fraction=_fraction(unchanged),
        median_spread=median_spread,
        findings=tuple(sorted(findings, key=lambda finding: not finding.is_error)),
    )


def _fraction(mask: NDArray[np.bool_]) -> float:
    return float(mask.mean()) if mask.size else 0.0


def _run_lengths(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return at the start of each run of True its length, elsewhere 0."""
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    lengths = np.zeros(mask.shape, dtype=np.int64)
    lengths[starts] = ends - starts
    return lengths


def _outliers(closes: NDArray[np.float64]) -> NDArray[np.bool_]:
    found = np.zeros(closes.shape, dtype=np.bool_)
    if closes.size < 3 or (closes <= 0).any():
        return found
    returns = np.diff(np.log(closes))
    deviation = _MAD_TO_SD * np.median(np.abs(returns - np.median(returns)))
    if deviation > 0:
        found[1:] = np.abs(returns) > OUTLIER_DEVIATIONS * deviation
    return found


def _looks_generated(closes: NDArray[np.float64]) -> bool:
    if closes.size <= GENERATED_STEPS_MIN or (closes <= 0).any():
        return False
    steps = np.diff(np.log(closes))
    centred = steps - steps.mean()
    variance = float((centred**2).mean())
    if variance <= 0:
        return False
    kurtosis = float((centred**4).mean()) / variance**2
    size = np.abs(centred) - np.abs(centred).mean()
    spread = float((size**2).mean())
    memory = float((size[1:] * size[:-1]).mean()) / spread if spread > 0 else 0.0
    return kurtosis < GENERATED_KURTOSIS_MAX and memory < GENERATED_MEMORY_MAX
