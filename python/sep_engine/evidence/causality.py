"""The gate in front of every number: does anything look ahead?

A subject gives columns, whose row t is meant to be known at the close of bar t, and trades. The
gate runs it again on a past that is cut off, or followed by a future that is wrong, and asks that
nothing known earlier has changed:

truncation     columns(market[:t+1]) equals the first t + 1 rows of columns(market), for many t
poison         the same rows with a wild future behind them instead of none
twins          a stream, a GPU or any second implementation gives the same columns
lag            a trade is entered at least one bar after the bar that decided it
entry, exit    a trade and its prices stay when all that comes later is cut off, and when the rest
               of the bar is: an entry at the open knows nothing else of its bar, an exit knows no
               extreme
largest        the trades that gained most, wherever they are, are decided the same with a wild
               future behind the bar that decided them
label shift    the hit rate against moves that begin s bars later, s in -3..3

All but the last fail the gate and name column and row. The label-shift curve is for the eye, and
for trades without code behind them: what knows the next bar's direction knows nothing of the one
after it, so its curve is a spike at 0.

Source of the first idea: freqtrade's lookahead-analysis, which asks it of trades that fired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from sep_engine.backtest.trades import Entry
from sep_engine.errors import ArgumentError
from sep_engine.evidence.market import BarTicks, Ints, TimedBars
from sep_engine.evidence.surrogates import words

Columns = Mapping[str, npt.NDArray[np.generic]]
_T = TypeVar("_T")

_SHIFTS = range(-3, 4)
ROWS_A_PART = 10  # the first of them is poisoned too
_WIDER_TICKS = 1009  # a prime that no stop or target distance is a plausible multiple of


@dataclass(frozen=True, slots=True, eq=False)
class Trades:
    """Round trips: (k,) int64 arrays in the order of `decided`.

    decided, entered, exited: bar numbers; an exit at the open of a bar belongs to that bar.
    direction: 1 bought, -1 sold.
    entry, exit: prices in ticks, before costs.
    """

    decided: Ints
    entered: Ints
    exited: Ints
    direction: Ints
    entry: Ints
    exit: Ints

    def __post_init__(self) -> None:
        shapes = {a.shape for a in self.rows()}
        if len(shapes) != 1 or len(self.decided.shape) != 1:
            raise ArgumentError(f"trades must be six (k,) arrays, were {shapes}")

    def __len__(self) -> int:
        return int(self.decided.size)

    def rows(self) -> tuple[Ints, ...]:
        """Return the six arrays in the order of the fields."""
        return (self.decided, self.entered, self.exited, self.direction, self.entry, self.exit)


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What the gate judges.

    name: in messages.
    columns: from bars to named (n,) arrays; row t is known at the close of bar t.
    trades: from bars to round trips; a trade still open at the end may be left out.
    twins: other implementations of the same columns (a stream, a GPU); each may give fewer.
    decision: the column of directions, -1, 0 or 1.
    bars_min: the fewest bars that the code can run on.
    entry: at which price of its bar a trade is entered.
    tolerance: largest difference between floats, relative to the column's largest size: 0 for
        code that computes each row in the same order whatever follows, 1e-9 for code that does not.
    """

    name: str
    columns: Callable[[TimedBars], Columns]
    trades: Callable[[TimedBars], Trades] | None = None
    twins: Mapping[str, Callable[[TimedBars], Columns]] = field(default_factory=dict)
    decision: str = "direction"
    bars_min: int = 1
    entry: Entry = "open"
    tolerance: float = 0.0


class Share(Protocol):
    """Does the same work for many numbers, in processes of its own if it likes."""

    def __call__(
        self, work: Callable[[int], _T], count: int, *, more: Callable[[int], bool]
    ) -> Iterable[tuple[int, _T]]:
        """Yield (number, work(number)) for numbers from 0 to below `count`, in any order.

        more: asked before each number; where the answer is no, nothing further is begun.
        """


def in_turn(
    work: Callable[[int], _T], count: int, *, more: Callable[[int], bool]
) -> Iterator[tuple[int, _T]]:
    """Share the work with nobody."""
    for number in range(count):
        if not more(number):
            return
        yield number, work(number)


@dataclass(frozen=True, slots=True)
class Finding:
    """One leak: which check found it, in which column (or trade field), first at which row."""

    check: str
    column: str
    row: int
    text: str


@dataclass(frozen=True, slots=True)
class ShiftedHits:
    """Hit rate of the decisions against one-bar moves that begin `shift` bars later."""

    shift: int
    hit_rate: float | None
    signals: int


@dataclass(frozen=True, slots=True)
class GateReport:
    """The gate's answer.

    truncations, poisons: how often the subject was run again on a changed future.
    trades, trades_again: how many it had, and how many of them were made again.
    largest_again: how many of the trades that gained most were decided again.
    decision_lag_bars: the fewest bars from a decision to its entry, None without trades.
    """

    subject: str
    findings: tuple[Finding, ...]
    checks: tuple[str, ...]
    truncations: int
    poisons: int
    trades: int
    trades_again: int
    decision_lag_bars: int | None
    label_shift: tuple[ShiftedHits, ...]
    largest_again: int = 0

    @property
    def passed(self) -> bool:
        """Whether no check found a leak."""
        return not self.findings

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Return the report that `dataclasses.asdict` made a JSON object of."""
        return cls(
            **{
                **document,
                "findings": tuple(Finding(**one) for one in document["findings"]),
                "checks": tuple(document["checks"]),
                "label_shift": tuple(ShiftedHits(**one) for one in document["label_shift"]),
            }
        )


def inspect(
    subject: Subject,
    market: TimedBars,
    *,
    truncations: int = 1000,
    truncations_min: int = 50,
    trade_points: int = 100,
    seed: int = 0,
    enough: Callable[[], bool] = lambda: False,
    share: Share | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> GateReport:
    """Return what the gate finds: the first leak of each column and check.

    Args:
        market: at least 100 bars.
        truncations: how many random rows to cut at; a tenth as many are poisoned.
        truncations_min: how many are done even when `enough` says stop.
        trade_points: how many trades to run again.
        seed: of the rows.
        enough: asked before every tenth run from `truncations_min` on, and before each trade
            after ten: has the time been used up?
        share: does the runs, None in turn. The findings are the same whatever it does first.
        progress: called with the runs done and all.

    Raises:
        ArgumentError: fewer than 100 bars, or the subject's columns have the wrong length or lack
            the decision.
    """
    n = len(market)
    first = max(subject.bars_min - 1, n // 20)
    if n < 100 or first >= n - 1:
        raise ArgumentError(
            f"market must hold at least {max(100, subject.bars_min + 1)} bars, held {n}"
        )
    whole = _checked(subject, subject.columns(market), n)
    # The last row is not cut: there is no future behind it. Early rows are mostly warm-up.
    rows = [first + int(w % (n - 1 - first)) for w in words(truncations, seed=seed, index=0)]

    def run_again(part: int) -> list[Finding]:
        found: list[Finding] = []
        for place, row in enumerate(rows[ROWS_A_PART * part : ROWS_A_PART * (part + 1)]):
            cut = subject.columns(market.head(row + 1))
            _compare(found, "truncation", subject, whole, cut, row)
            if place == 0:
                spoilt = subject.columns(market.poisoned(row))
                _compare(found, "poison", subject, whole, spoilt, row)
        return found

    done = 0
    by_part: dict[int, list[Finding]] = {}
    share = share or in_turn
    for part, found in share(
        run_again,
        -(-truncations // ROWS_A_PART),
        more=lambda part: part * ROWS_A_PART < truncations_min or not enough(),
    ):
        by_part[part] = found
        done += min(ROWS_A_PART, truncations - ROWS_A_PART * part)
        progress(done, truncations)
    findings = _firsts(by_part)
    for name, twin in subject.twins.items():
        _compare(findings, f"twin {name}", subject, whole, twin(market), n - 1, some=True)
    checks = ["truncation", "poison", *(f"twin {name}" for name in subject.twins)]
    trades, again = None, 0
    if subject.trades is not None:
        checks += ["lag", "entry", "exit"]
        trades = subject.trades(market)
        wrong = _impossible_trades(market, trades)
        findings += wrong
        if not wrong:
            found_again = _trades_again(
                subject, subject.trades, market, trades, trade_points, seed, enough, share
            )
            again = len(found_again)
            findings += _firsts(found_again)
    return GateReport(
        subject=subject.name,
        findings=tuple(findings),
        checks=tuple(checks),
        truncations=done,
        poisons=len(by_part),
        trades=0 if trades is None else len(trades),
        trades_again=again,
        decision_lag_bars=int((trades.entered - trades.decided).min()) if trades else None,
        label_shift=label_shift(whole[subject.decision], market, entry=subject.entry),
    )


def decided_again(
    decide: Callable[[TimedBars], npt.NDArray[np.integer[Any]]],
    market: TimedBars,
    rows: Ints,
    *,
    enough: Callable[[], bool] = lambda: False,
    share: Share | None = None,
) -> tuple[int, tuple[Finding, ...]]:
    """Return how many rows were decided again, and the first whose decision knew its future.

    A leak on a few bars escapes random cuts. Where it earns anything, it is on the bars that the
    largest gains were decided at.

    Args:
        decide: from bars to (n,) directions.
        rows: (k,) bars that decided trades, the most important first.
        enough: asked before each row after the first five.
        share: as for `inspect`.
    """
    whole = decide(market)

    def run_again(place: int) -> list[Finding]:
        row = int(rows[place])
        again = decide(market.poisoned(row))[row]
        if again == whole[row]:
            return []
        text = f"the decision at bar {row} is {whole[row]}, and {again} with a wild future behind"
        return [Finding("largest", "direction", row, text)]

    found = dict(
        (share or in_turn)(run_again, rows.size, more=lambda place: place < 5 or not enough())
    )
    return len(found), tuple(_firsts(found))


def label_shift(
    decisions: npt.ArrayLike, market: TimedBars, *, entry: Entry = "open"
) -> tuple[ShiftedHits, ...]:
    """Return the hit rates of decisions against the move from open t+1+s to open t+2+s, ties out.

    Args:
        decisions: (n,) of -1, 0 and 1.
        entry: "close" takes closes in place of opens.
    """
    called = np.sign(np.nan_to_num(np.asarray(decisions, dtype=np.float64)))
    prices = market.bars.close if entry == "close" else market.bars.open
    curve = []
    for shift in _SHIFTS:
        row = np.flatnonzero(called)
        begin = row + 1 + shift
        keep = (begin >= 0) & (begin + 1 < len(market))
        row, begin = row[keep], begin[keep]
        product = called[row] * np.sign(prices[begin + 1] - prices[begin])
        product = product[product != 0]
        rate = float((product > 0).mean()) if product.size else None
        curve.append(ShiftedHits(shift, rate, int(product.size)))
    return tuple(curve)


def _checked(subject: Subject, columns: Columns, count: int) -> Columns:
    for name, values in columns.items():
        if np.shape(values) != (count,):
            raise ArgumentError(
                f"{subject.name}: column {name} must be ({count},), was {np.shape(values)}"
            )
    if subject.decision not in columns:
        raise ArgumentError(
            f"{subject.name}: columns must hold {subject.decision!r}, held {sorted(columns)}"
        )
    return columns


def _compare(
    findings: list[Finding],
    check: str,
    subject: Subject,
    whole: Columns,
    again: Columns,
    last: int,
    *,
    some: bool = False,
) -> None:
    found = {(f.check, f.column) for f in findings}
    for name, values in whole.items():
        if (check, name) in found or (some and name not in again):
            continue
        rows = min(last + 1, again[name].size) if name in again else 0
        if rows <= last:
            findings.append(Finding(check, name, rows, f"{name} has no row {rows} yet"))
            continue
        differs = _differs(values[: last + 1], again[name][: last + 1], subject.tolerance)
        if differs.any():
            row = int(differs.argmax())
            text = (
                f"{name} at bar {row} is {values[row]}, and {again[name][row]} by {check} at {last}"
            )
            findings.append(Finding(check, name, row, text))


def _differs(
    a: npt.NDArray[np.generic], b: npt.NDArray[np.generic], tolerance: float
) -> npt.NDArray[np.bool_]:
    if a.dtype == b.dtype and a.tobytes() == b.tobytes():
        return np.zeros(a.shape, dtype=np.bool_)
    if not (np.issubdtype(a.dtype, np.floating) and np.issubdtype(b.dtype, np.floating)):
        return np.asarray(a != b, dtype=np.bool_)
    x, y = a.astype(np.float64), b.astype(np.float64)
    finite = np.abs(x[np.isfinite(x)])
    allowed = tolerance * float(finite.max(initial=0.0))
    with np.errstate(invalid="ignore"):
        same = (x == y) | (np.isnan(x) & np.isnan(y)) | (np.abs(x - y) <= allowed)
    return np.asarray(~same, dtype=np.bool_)


def _firsts(found: Mapping[int, list[Finding]]) -> list[Finding]:
    """The first finding of each check and column, by the order of the parts."""
    firsts: dict[tuple[str, str], Finding] = {}
    for part in sorted(found):
        for finding in found[part]:
            firsts.setdefault((finding.check, finding.column), finding)
    return list(firsts.values())


def _impossible_trades(market: TimedBars, trades: Trades) -> list[Finding]:
    findings = []
    for check, wrong, text in (
        ("lag", trades.entered <= trades.decided, "entered no later than the bar that decided it"),
        ("lag", trades.exited < trades.entered, "left before it was entered"),
        (
            "entry",
            _too_good(market, trades.entered, trades.entry, -trades.direction),
            "entered at a better price than its bar had",
        ),
        (
            "exit",
            _too_good(market, trades.exited, trades.exit, trades.direction),
            "left at a better price than its bar had",
        ),
    ):
        if wrong.any():
            k = int(wrong.argmax())
            column = "exited" if check == "exit" else "entered"
            findings.append(Finding(check, column, int(trades.decided[k]), f"trade {k} is {text}"))
    return findings


def _trades_again(
    subject: Subject,
    run: Callable[[TimedBars], Trades],
    market: TimedBars,
    trades: Trades,
    points: int,
    seed: int,
    enough: Callable[[], bool],
    share: Share,
) -> dict[int, list[Finding]]:
    """What making trades again on a changed future finds, by the place of the trade drawn."""
    count = min(points, len(trades))
    drawn = [int(word % len(trades)) for word in words(count, seed=seed, index=1)]

    def run_again(place: int) -> list[Finding]:
        k = drawn[place]
        findings = []
        for check, found in (
            ("entry", _entry_again(run, market, trades, k, subject.entry)),
            ("exit", _exit_again(run, market, trades, k)),
        ):
            expected = _expected(trades, k, check)
            if found != expected:
                text = f"trade {k} has {check} {expected}, and {found} when its future is cut off"
                findings.append(Finding(check, check, int(trades.decided[k]), text))
        return findings

    return dict(share(run_again, count, more=lambda place: place < 10 or not enough()))


def _too_good(market: TimedBars, bar: Ints, price: Ints, direction: Ints) -> npt.NDArray[np.bool_]:
    best = np.where(direction > 0, market.bars.high[bar], market.bars.low[bar])
    return np.asarray(direction * (price - best) > 0, dtype=np.bool_)


def _expected(trades: Trades, k: int, check: str) -> str:
    price = trades.entry[k] if check == "entry" else trades.exit[k]
    return f"{'bought' if trades.direction[k] > 0 else 'sold'} at {int(price)}"


def _entry_again(
    run: Callable[[TimedBars], Trades], market: TimedBars, trades: Trades, k: int, entry: Entry
) -> str:
    """The entry when a wild future follows it: an entry at an open when its bar is over there."""
    bar = int(trades.entered[k])
    later = market.poisoned(bar)
    if entry == "close":
        return _find(run(later), trades, k, "entry")
    open_ = int(market.bars.open[bar])
    at = np.arange(len(market)) == bar
    return _find(
        run(later.with_bars(later.bars.each(lambda a: np.where(at, open_, a)))), trades, k, "entry"
    )


def _exit_again(
    run: Callable[[TimedBars], Trades], market: TimedBars, trades: Trades, k: int
) -> str:
    """The exit when a wild future follows, and then when its bar reaches further both ways.

    A wider bar may well touch a stop or a target; an exit that follows its extreme is the leak.
    """
    bar = int(trades.exited[k])
    expected = _expected(trades, k, "exit")
    later = market.poisoned(bar)
    found = _find(run(later), trades, k, "exit")
    if found != expected:
        return found
    reach = np.where(np.arange(len(market)) == bar, _WIDER_TICKS, 0)
    b = later.bars
    wider = BarTicks(b.open, b.high + reach, np.maximum(1, b.low - reach), b.close)
    moved = _find(run(market.with_bars(wider)), trades, k, "exit")
    word, price = expected.rsplit(" ", 1)
    follows = {f"{word} {int(price) + step}" for step in (_WIDER_TICKS, -_WIDER_TICKS)}
    return moved if moved in follows else expected


def _find(again: Trades, trades: Trades, k: int, check: str) -> str:
    same = np.flatnonzero(
        (again.decided == trades.decided[k]) & (again.entered == trades.entered[k])
    )
    if same.size:
        return _expected(again, int(same[0]), check)
    # A trade that is still open at the end may be left out; one before a later trade may not.
    return "no trade" if (again.decided > trades.decided[k]).any() else _expected(trades, k, check)
