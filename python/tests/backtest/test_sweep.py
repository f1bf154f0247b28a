"""A sweep against the plain backtester, which is the reference for every figure."""

import errno
import os
import random
import sys
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sep_engine.backtest import (
    ENTRIES,
    FIGURES,
    SIDES,
    Costs,
    CostsChange,
    Entry,
    Grid,
    PriceSide,
    reality_check,
    run,
    sweep,
    sweep_table,
)
from sep_engine.backtest.sweep_plan import blocks
from sep_engine.data import Bars, load_bars, load_sample
from sep_engine.errors import ArgumentError, DataError
from sep_engine.qfh import ENCODINGS
from sep_engine.signals import Gate, Rule
from sep_engine.signals.rule import DIRECTIONS, METRICS, PERCENTILE_METRICS

SHARED = Path(__file__).parents[4] / "shared" / "data"
HOUR_NS = 3600 * 10**9
MODULE = sys.modules[sweep.__module__]  # the package gives its name to the function

GRID = Grid(
    direction=("last_bit_reversal", "run_persistence", "damped"),
    invert=(False, True),
    gates=((), (Gate("coherence", "percentile", 50.0, 100.0),)),
    window=(16, 64),
    entry=("open", "close"),
    horizon_bars=(1, 3, 16),
    stop_ticks=(None, 60),
    target_ticks=(None, 90),
)


@pytest.fixture(scope="module")
def sample() -> Bars:
    return load_sample().bars


def first_bars(bars: Bars, count: int) -> Bars:
    names = ("times", "open", "high", "low", "close")
    names += ("open_ticks", "high_ticks", "low_ticks", "close_ticks")
    return replace(bars, volume=None, **{name: getattr(bars, name)[:count] for name in names})


def random_rule(seed: random.Random) -> Rule:
    encoding = seed.choice(ENCODINGS)
    gates = []
    for _ in range(seed.choice((0, 0, 1, 2))):
        if encoding == "moves" and seed.random() < 0.6:
            low, high = sorted(seed.choices((0.0, 5.0, 20.0, 50.0, 80.0, 95.0, 100.0), k=2))
            gates.append(Gate(seed.choice(PERCENTILE_METRICS), "percentile", low, high))
        else:
            low, high = sorted((seed.uniform(-0.2, 1.0), seed.uniform(-0.2, 1.0)))
            gates.append(Gate(seed.choice(METRICS), "value", low, high))
    windows = [8, 20, 31, 64, 65, 200]
    if any(gate.metric == "collapse" for gate in gates):
        windows = windows[3:]
    return Rule(
        direction=seed.choice(DIRECTIONS),
        horizon_bars=seed.choice((1, 2, 3, 5, 16, 60, 500)),
        stop_ticks=seed.choice((None, 1, 15, 60, 300)),
        target_ticks=seed.choice((None, 1, 20, 100)),
        units=Decimal(1),
        encoding=encoding,
        window=seed.choice(windows),
        invert=seed.random() < 0.5,
        gates=tuple(gates),
    )


def plain_figures(
    bars: Any,
    rule: Rule,
    costs: Costs,
    side: PriceSide,
    entry: Entry,
    counts: NDArray[np.bool_] | None = None,
) -> dict[str, int]:
    result = run(bars, rule, costs, side=side, entry=entry, counts=counts)
    made = result.figures
    exits = {f"exits_by_{str(why).replace(' ', '_')}": n for why, n in made.exits.items()}
    return {
        "signals": made.signals,
        "trades": made.trades,
        "wins": made.wins,
        "gross_ticks": made.gross_ticks,
        "net_ticks": made.net_ticks,
        "day_net_ticks_squared": int((result.day_net_ticks**2).sum()),
        "max_drawdown_ticks": made.max_drawdown_ticks,
        "longest_losing_run": made.longest_losing_run,
        "held_bars": round(made.exposure * made.bars),
        **exits,
    }


def assert_same_as_one_by_one(
    bars: Any, rules: list[Rule], costs: Costs, side: PriceSide, entry: Entry
) -> int:
    found = sweep(bars, rules, costs, side=side, entry=entry, threads=2)
    for number, rule in enumerate(rules):
        got = {name: int(found.columns[name][number]) for name in FIGURES}
        assert got == plain_figures(bars, rule, costs, side, entry), (rule, side, entry)
    return int(found.columns["trades"].sum())


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("side", SIDES)
def test_every_rule_has_the_figures_that_it_has_alone(
    sample: Bars, side: PriceSide, entry: Entry
) -> None:
    bars = first_bars(sample, 1_200)
    seed = random.Random(f"{side} {entry}")
    spreads = np.random.default_rng(3).integers(0, 30, size=1_200)
    trades = 0
    for costs in (Costs(13, 2), Costs(spreads, 1)):
        rules = [random_rule(seed) for _ in range(100)]
        trades += assert_same_as_one_by_one(bars, rules, costs, side, entry)
    assert trades > 10_000  # the rules are not all idle


@pytest.mark.parametrize(
    "name", ["eurusd_m1_histdata_2017H1.csv.gz", "usdjpy_h1_mt_2012-2022.csv.gz"]
)
def test_real_bars_give_the_same_figures(name: str) -> None:
    if not (SHARED / name).exists():
        pytest.skip(f"{name} is not here: its vendor did not grant redistribution")
    bars = first_bars(load_bars(SHARED / name), 6_000)
    seed = random.Random(name)
    rules = [random_rule(seed) for _ in range(30)]
    assert assert_same_as_one_by_one(bars, rules, Costs(11, 1), "bid", "open") > 3_000
    assert assert_same_as_one_by_one(bars, rules[:10], Costs(11, 1), "ask", "close") > 1_000


@dataclass(frozen=True)
class MadeBars:
    """A few bars in ticks of 1, with what `run` needs of them."""

    rows: NDArray[np.int64]  # (n, 4): open, high, low, close
    times: NDArray[np.int64]
    missing: NDArray[np.bool_]
    tick = Decimal(1)
    name = "made"
    content_sha256 = ""

    @property
    def open_ticks(self) -> NDArray[np.int64]:
        return self.rows[:, 0].copy()

    @property
    def high_ticks(self) -> NDArray[np.int64]:
        return self.rows[:, 1].copy()

    @property
    def low_ticks(self) -> NDArray[np.int64]:
        return self.rows[:, 2].copy()

    @property
    def close_ticks(self) -> NDArray[np.int64]:
        return self.rows[:, 3].copy()

    @property
    def close(self) -> NDArray[np.float64]:
        return self.rows[:, 3].astype(np.float64)

    def gaps(self) -> NDArray[np.bool_]:
        return self.missing


@st.composite
def made_bars(draw: st.DrawFn) -> MadeBars:
    """Bars that jump, tie, touch both ends of a bracket, and change days, down to a single one."""
    count = draw(st.integers(1, 80))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    step = draw(st.sampled_from((1, 2, 8)))
    close = 1_000 + np.cumsum(numbers.integers(-step, step + 1, size=count))
    open_ = np.concatenate([[1_000], close[:-1]]) + numbers.integers(-step, step + 1, size=count)
    wick = numbers.integers(0, 2 * step + 1, size=(2, count))
    high, low = np.maximum(open_, close) + wick[0], np.minimum(open_, close) - wick[1]
    hours = np.cumsum(numbers.choice((1, 1, 1, 9, 60), size=count))
    return MadeBars(
        np.stack([open_, high, low, close], axis=1).astype(np.int64),
        hours * HOUR_NS,
        numbers.random(count) < 0.05,
    )


@settings(max_examples=120, deadline=None)
@given(
    bars=made_bars(),
    numbers=st.integers(0, 2**32 - 1),
    side=st.sampled_from(SIDES),
    entry=st.sampled_from(ENTRIES),
    spread=st.integers(0, 5),
)
def test_few_and_awkward_bars_give_the_same_figures(
    bars: MadeBars, numbers: int, side: PriceSide, entry: Entry, spread: int
) -> None:
    seed = random.Random(numbers)
    rules = [
        Rule(
            direction=seed.choice(DIRECTIONS[:3]),
            horizon_bars=seed.choice((1, 2, 7, 100)),
            stop_ticks=seed.choice((None, 1, 3)),
            target_ticks=seed.choice((None, 1, 3)),
            units=Decimal(1),
            encoding=seed.choice(ENCODINGS),
            window=8,
            invert=seed.random() < 0.5,
        )
        for _ in range(4)
    ]
    assert_same_as_one_by_one(bars, rules, Costs(spread, seed.choice((0, 2))), side, entry)
    assert_same_table(
        sweep(bars, rules, Costs(spread), side=side, entry=entry, backend="scalar"),
        sweep(bars, rules, Costs(spread), side=side, entry=entry),
    )


def assert_same_table(one: Any, other: Any) -> None:
    assert one.numbers.tobytes() == other.numbers.tobytes()
    for name in FIGURES:
        assert one.columns[name].tobytes() == other.columns[name].tobytes(), name


def test_threads_and_blocks_and_backends_give_the_same_bytes(
    sample: Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = first_bars(sample, 700)
    expected = sweep(bars, GRID, Costs(13), side="ask", backend="scalar")
    assert expected.numbers.tolist() == list(range(24 * 24))
    for threads in (1, 2, 7, 64):
        assert_same_table(sweep(bars, GRID, Costs(13), side="ask", threads=threads), expected)
    for size in (1, 7, 24, 100):
        monkeypatch.setattr(MODULE, "_RULES_IN_BLOCK", size)
        assert_same_table(sweep(bars, GRID, Costs(13), side="ask"), expected)


def test_a_grid_is_the_list_of_its_rules(sample: Bars) -> None:
    bars = first_bars(sample, 700)
    grid = replace(GRID, entry=("close",))
    as_grid = sweep(bars, grid, Costs(13))
    as_list = sweep(bars, list(grid.rules()), Costs(13), entry="close")
    assert_same_table(as_grid, as_list)
    number = 77
    assert as_grid.rule(number) == as_list.rule(number) == grid.rule(number)
    assert as_grid.entry_of(number) == as_list.entry_of(number) == "close"


@pytest.mark.parametrize("backend", ["scalar", "simd"])
def test_a_session_holds_for_every_rule_of_a_grid(sample: Bars, backend: Any) -> None:
    bars, costs = first_bars(sample, 2000), Costs(13)
    hour = (bars.times // HOUR_NS + 1) % 24
    counts = (hour >= 8) & (hour < 16)  # of the bars that end then
    found = sweep(bars, GRID, costs, side="ask", counts=counts, backend=backend, threads=2)
    for number in range(0, len(GRID), 7):
        expected = plain_figures(
            bars, GRID.rule(number), costs, "ask", GRID.entry_of(number), counts
        )
        assert {name: int(found.columns[name][number]) for name in FIGURES} == expected
        assert all(counts[trade.entry_bar - 1] for trade in found.trades(number))
    # Two rules of three would trade at other hours as well.
    assert found.columns["signals"].sum() < sweep(bars, GRID, costs).columns["signals"].sum() / 2


def test_a_session_is_asked_of_null_worlds_too(sample: Bars) -> None:
    bars = first_bars(sample, 1000)
    nowhere = np.zeros(bars.times.size, dtype=np.bool_)
    check = reality_check(bars, GRID, Costs(13), counts=nowhere, count=5)
    assert np.isneginf(check.null).all()  # nothing may be entered, so nothing varies
    with pytest.raises(ArgumentError, match="counts must have one value per bar, 1000, had 999"):
        sweep(bars, GRID, Costs(13), counts=nowhere[1:])


def test_blocks_cover_a_grid_once() -> None:
    for rules_max, decisions_max in ((1, 512), (10, 3), (8192, 512)):
        made = blocks(GRID, rules_max=rules_max, decisions_max=decisions_max)
        assert max(len(block) for block in made) <= rules_max
        numbers = np.concatenate([block.span(GRID).all() for block in made])
        assert sorted(numbers.tolist()) == list(range(576))


def test_the_best_rules_are_kept_in_order_and_can_be_looked_into(sample: Bars) -> None:
    bars = first_bars(sample, 700)
    everything = sweep(bars, GRID, Costs(13), side="ask")
    best = sweep(bars, GRID, Costs(13), side="ask", top=5, by="net_ticks")
    net = everything.columns["net_ticks"]
    # The largest first; of equals the smaller number first.
    expected = sorted(range(576), key=lambda k: (-net[k], k))[:5]
    assert best.numbers.tolist() == everything.best("net_ticks", 5).tolist() == expected
    assert best.columns["net_ticks"].tolist() == net[expected].tolist()
    chosen = int(best.numbers[0])
    assert best.equity(chosen)[-1] == best.columns["net_ticks"][0]
    assert len(best.trades(chosen)) == best.columns["trades"][0]
    assert "5 of 576 rules" in repr(best)


def test_the_sharpe_ratio_counts_idle_days() -> None:
    # A bar on each of 40 days, each a tick lower. Bar 8 brings the eighth bit; momentum sells after
    # bars 8, 10, ... 38, enters at the next open and leaves at the one after, a tick lower, on days
    # 10, 12, ... 38. The last enters on day 39 and leaves at that day's close, a tick lower. So 16
    # days of 40 gain 1 tick: mean 0.4, variance 40/39 * 0.4 * 0.6.
    close = 2_000 - np.arange(40, dtype=np.int64)
    opens = np.concatenate([[2_000], close[:-1]])
    rows = np.stack([opens, opens, close, close], axis=1)
    bars = MadeBars(rows, np.arange(40) * 24 * HOUR_NS, np.zeros(40, dtype=np.bool_))
    rule = Rule("last_bit_momentum", 1, None, Decimal(1), window=8)
    found = sweep(bars, [rule], Costs(0))
    assert found.days == 40
    assert found.columns["trades"][0] == found.columns["net_ticks"][0] == 16
    assert found.columns["day_net_ticks_squared"][0] == 16
    assert found.sharpe[0] == pytest.approx(0.4 / (40 / 39 * 0.24) ** 0.5, rel=1e-12)


def interrupted_after(blocks_done: int) -> Any:
    seen = 0

    def progress(done: int, total: int) -> None:
        nonlocal seen
        seen += 1
        if seen == blocks_done:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("top", [None, 7])
def test_an_interrupted_sweep_goes_on_to_the_same_bytes(
    sample: Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top: int | None
) -> None:
    monkeypatch.setattr(MODULE, "_RULES_IN_BLOCK", 50)
    bars = first_bars(sample, 500)
    saved, table = tmp_path / "saved", tmp_path / "table.npy"
    whole_table = tmp_path / "whole.npy"
    expected = sweep(bars, GRID, Costs(13), top=top, table=whole_table)
    for stops in (2, 5):
        with pytest.raises(KeyboardInterrupt):
            sweep(
                *(bars, GRID, Costs(13)),
                top=top,
                table=table,
                checkpoint=saved,
                progress=interrupted_after(stops),
            )
    # Two blocks and then five were done, of 48 rules each: 24 decisions, 2 exits.
    reported: list[int] = []
    found = sweep(
        *(bars, GRID, Costs(13)),
        top=top,
        table=table,
        checkpoint=saved,
        progress=lambda done, total: reported.append(done),
    )
    assert reported == [48 * k for k in (8, 9, 10, 11, 12)]
    assert_same_table(found, expected)
    assert table.read_bytes() == whole_table.read_bytes()
    if top is None:
        rows = np.load(table, mmap_mode="r")
        assert rows[:, FIGURES.index("trades")].tolist() == found.columns["trades"].tolist()
    # Nothing half-written stays behind.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["saved", "table.npy", "whole.npy"]


@pytest.mark.parametrize(
    "change",
    [
        {"costs": Costs(14)},
        {"rules": replace(GRID, window=(16, 32))},
        {"top": 3},
        {"side": "bid"},
    ],
)
def test_a_checkpoint_of_another_sweep_is_refused(
    sample: Bars, tmp_path: Path, change: dict[str, Any]
) -> None:
    bars = first_bars(sample, 200)
    saved = tmp_path / "saved"
    given: dict[str, Any] = {"rules": GRID, "costs": Costs(13), "checkpoint": saved}
    sweep(bars, **given)
    with pytest.raises(ArgumentError, match="saved: is of another sweep: bars, costs, rules"):
        sweep(bars, **{**given, **change})
    saved.write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(ArgumentError, match="saved: not a checkpoint of a sweep"):
        sweep(bars, **given)


def test_it_refuses_what_32_bits_cannot_hold(sample: Bars) -> None:
    bars = first_bars(sample, 100)
    high = replace(bars, high_ticks=bars.high_ticks + 2**29)
    with pytest.raises(ArgumentError, match="high prices must be below 536870912 ticks; use a"):
        sweep(high, GRID, Costs(13))
    with pytest.raises(ArgumentError, match="costs must be below 67108864 ticks"):
        sweep(bars, GRID, Costs(2**26), side="bid")
    with pytest.raises(ArgumentError, match="the path of prices and costs must be below 3e9"):
        sweep(bars, GRID, Costs(2**25, 2**25))
    with pytest.raises(ArgumentError, match="top must be >= 1, was 0"):
        sweep(bars, GRID, Costs(13), top=0)


def test_blocks_are_handed_over_in_order_and_once(
    sample: Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "_RULES_IN_BLOCK", 50)
    bars = first_bars(sample, 500)
    expected = sweep(bars, GRID, Costs(13))
    seen: list[Any] = []
    given: dict[str, Any] = {"top": 4, "checkpoint": tmp_path / "saved"}

    def each_block(numbers: Any, columns: dict[str, Any]) -> None:
        if len(seen) == 5:
            seen.append(None)
            raise OSError("the disk is full")
        seen.append((numbers, columns))

    with pytest.raises(OSError, match="the disk is full"):
        sweep(bars, GRID, Costs(13), each_block=each_block, **given)
    assert seen.pop() is None
    found = sweep(bars, GRID, Costs(13), each_block=lambda *block: seen.append(block), **given)
    # The block that could not be taken came again, and no other.
    numbers = np.concatenate([block[0] for block in seen])
    assert len(seen) == 12
    assert sorted(numbers.tolist()) == list(range(576))
    for name in FIGURES:
        column = np.concatenate([block[1][name] for block in seen])
        assert column.tolist() == expected.columns[name][numbers].tolist(), name
    assert found.numbers.tolist() == expected.best("sharpe", 4).tolist()


COSTLY = replace(
    GRID,
    window=(16,),
    costs=(
        CostsChange(),
        CostsChange(Decimal("1.5")),
        CostsChange(spread_ticks=4, per_side_ticks=1),
    ),
)


def test_costs_are_an_axis_of_the_grid(sample: Bars, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_RULES_IN_BLOCK", 50)
    bars = first_bars(sample, 700)
    found = sweep(bars, COSTLY, Costs(13, 2), side="ask")
    assert len(found) == len(COSTLY) == 3 * 288
    # One and a half times 13 ticks are 19.5, rounded up; a change of the spread keeps the rest.
    assert [found.costs_of(number).spread_ticks for number in (0, 288, 576)] == [13, 20, 4]
    assert [found.costs_of(number).per_side_ticks for number in (287, 575, 863)] == [2, 2, 1]
    once = replace(COSTLY, costs=(CostsChange(),))
    for place, costs in enumerate((Costs(13, 2), Costs(20, 2), Costs(4, 1))):
        alone = sweep(bars, once, costs, side="ask")
        part = slice(288 * place, 288 * (place + 1))
        for name in FIGURES:
            assert found.columns[name][part].tolist() == alone.columns[name].tolist()
    best = int(found.best("net_ticks", 1)[0])
    assert found.backtest(best).figures.net_ticks == found.columns["net_ticks"][best]
    net = found.columns["net_ticks"]
    check = reality_check(*(bars, COSTLY, Costs(13, 2)), side="ask", count=5, statistic="net_ticks")
    worlds = [
        reality_check(*(bars, once, costs), side="ask", count=5, statistic="net_ticks").null
        for costs in (Costs(13, 2), Costs(20, 2), Costs(4, 1))
    ]
    assert check.observed == net.max()
    assert check.null.tolist() == np.max(worlds, axis=0).tolist()


def test_a_sweep_over_costs_goes_on_where_it_was_interrupted(
    sample: Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "_RULES_IN_BLOCK", 50)
    bars = first_bars(sample, 500)
    given: dict[str, Any] = {"checkpoint": tmp_path / "saved"}
    for stops in (2, 7, 3):  # 8 blocks of each costs
        with pytest.raises(KeyboardInterrupt):
            sweep(bars, COSTLY, Costs(13), progress=interrupted_after(stops), **given)
    assert_same_table(sweep(bars, COSTLY, Costs(13), **given), sweep(bars, COSTLY, Costs(13)))


def test_costs_that_do_not_fit_are_refused_before_anything_is_tried(sample: Bars) -> None:
    bars = first_bars(sample, 100)
    grid = replace(GRID, costs=(CostsChange(), CostsChange(spread_ticks=2**27)))
    with pytest.raises(ArgumentError, match="costs must be below 67108864 ticks"):
        sweep(bars, grid, Costs(1), progress=interrupted_after(1))


@pytest.mark.parametrize(
    ("spread", "message"),
    [
        (2.5, "spread_ticks must be a whole number of ticks, was float"),
        (float("nan"), "spread_ticks must be a whole number of ticks, was float"),
        (True, "spread_ticks must be a whole number of ticks, was bool"),
        (np.full(9, 1.5), "spread_ticks must be whole ticks, had dtype float64"),
        (np.array([True]), "spread_ticks must be whole ticks, had dtype bool"),
        ([5], "spread_ticks must be a whole number of ticks, was list"),
    ],
)
def test_costs_are_whole_ticks_and_not_cut_to_them(spread: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Costs(spread)
    with pytest.raises(
        TypeError, match="per_side_ticks must be a whole number of ticks, was float"
    ):
        Costs(1, per_side_ticks=0.5)
    with pytest.raises(
        TypeError, match="per_side_ticks must be a whole number of ticks, was float"
    ):
        CostsChange(per_side_ticks=0.5)


def test_what_a_sweep_cannot_take_is_named_in_one_line(sample: Bars) -> None:
    bars = first_bars(sample, 100)
    good: dict[str, Any] = {"bars": bars, "rules": GRID, "costs": Costs(1)}
    for name, value, message in (
        ("bars", [1.1], "bars must have an array times, as Bars do; were list"),
        ("bars", replace(bars, open_ticks=bars.open_ticks / 1), "open prices must be whole ticks"),
        ("rules", None, "rules must be a Grid or a sequence of Rule, were NoneType"),
        ("rules", [GRID], "rules must hold Rule, held Grid at 0"),
        ("costs", 5, "costs must be Costs, were int"),
        ("entry", "noon", "entry must be one of open, close; was 'noon'"),
        ("counts", np.ones(100), "counts must have dtype bool"),
        ("counts", np.ones(99, dtype=np.bool_), "counts must have one value per bar, 100, had 99"),
        ("top", 2.5, "top must be an int, was float"),
        ("threads", 1.5, "threads must be an int, was float"),
        ("backend", None, "backend must be a str, was NoneType"),
        ("progress", 5, "progress must be something to call, was int"),
        ("each_block", "f", "each_block must be something to call, was str"),
    ):
        with pytest.raises((ArgumentError, TypeError), match=message) as raised:
            sweep(**{**good, name: value})
        assert "\n" not in str(raised.value)
    found = sweep(**good)
    with pytest.raises(TypeError, match="rule number must be an int, was float"):
        found.rule(2.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="count must be an int, was str"):
        found.best(count="3")  # type: ignore[arg-type]


def test_a_parquet_table_holds_every_rule_with_its_parts(
    sample: Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "_RULES_IN_BLOCK", 50)
    bars = first_bars(sample, 500)
    path = tmp_path / "all.parquet"
    found = sweep(bars, COSTLY, Costs(13), table=path)
    rows = sorted(pq.read_table(path).to_pylist(), key=lambda row: row["rule"])
    assert [row["rule"] for row in rows] == list(range(864))
    for number in (0, 100, 287, 288, 700, 863):
        rule, row = COSTLY.rule(number), rows[number]
        assert {name: row[name] for name in FIGURES} == {
            name: found.columns[name][number] for name in FIGURES
        }
        for name in ("encoding", "window", "direction", "invert", "horizon_bars", "stop_ticks"):
            assert row[name] == getattr(rule, name), name
        assert row["target_ticks"] == rule.target_ticks
        assert row["entry"] == COSTLY.entry_of(number)
    assert rows[0]["gates"] == "[]"
    assert rows[863]["gates"] == '[{"metric": "coherence", "percentile": [50.0, 100.0]}]'
    assert rows[300]["costs"] == '{"spread_multiple": "1.5"}'
    assert [path.name for path in tmp_path.iterdir()] == ["all.parquet"]


def test_a_list_of_rules_gives_a_parquet_table_too(sample: Bars, tmp_path: Path) -> None:
    seed = random.Random("parquet")
    rules = [random_rule(seed) for _ in range(40)]
    path = tmp_path / "all.parquet"
    found = sweep(first_bars(sample, 500), rules, Costs(13), entry="close", table=path)
    rows = pq.read_table(path).to_pylist()
    assert [row["net_ticks"] for row in rows] == found.columns["net_ticks"].tolist()
    assert [row["direction"] for row in rows] == [rule.direction for rule in rules]
    assert {row["entry"] for row in rows} == {"close"}


def test_a_parquet_table_that_is_not_whole_has_no_name(
    sample: Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "_RULES_IN_BLOCK", 50)
    monkeypatch.setattr(sweep_table, "_ROWS_IN_GROUP", 100)
    bars = first_bars(sample, 500)
    path = tmp_path / "all.parquet"
    seen: list[list[str]] = []

    def progress(done: int, total: int) -> None:
        seen.append([one.name for one in tmp_path.iterdir()])
        if len(seen) == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(bars, GRID, Costs(13), table=path, progress=progress)
    assert seen[-1] == ["all.parquet.part"]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ArgumentError, match="a Parquet table is written in one go"):
        sweep(bars, GRID, Costs(13), table=path, checkpoint=tmp_path / "saved")


@pytest.mark.parametrize("name", ["all.npy", "all.parquet"])
def test_a_table_that_cannot_be_written_is_refused_before_anything_is_tried(
    sample: Bars, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "absent" / name
    tried: list[Any] = []
    with pytest.raises(DataError, match=f"{name}: cannot be written: No such file or directory"):
        sweep(
            *(first_bars(sample, 500), GRID, Costs(13)),
            table=path,
            each_block=lambda *block: tried.append(block),
        )
    assert tried == []


def test_a_checkpoint_that_cannot_be_written_is_refused_before_anything_is_tried(
    sample: Bars, tmp_path: Path
) -> None:
    tried: list[Any] = []
    with pytest.raises(DataError, match="saved: cannot be written: No such file or directory"):
        sweep(
            *(first_bars(sample, 500), GRID, Costs(13)),
            checkpoint=tmp_path / "absent" / "saved",
            each_block=lambda *block: tried.append(block),
        )
    assert tried == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system reserves no space")
def test_a_mapped_table_has_its_place_on_the_disk_from_the_start(
    sample: Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A page that a full disk has no room for would end the process with SIGBUS when it is written.
    path = tmp_path / "all.npy"
    taken: list[int] = []

    def progress(done: int, total: int) -> None:
        taken.append(path.stat().st_blocks * 512)

    sweep(first_bars(sample, 500), GRID, Costs(13), table=path, progress=progress)
    assert taken[0] >= path.stat().st_size > 128 + len(GRID) * 13 * 8 - 8

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # Whose sweep is broken off without a checkpoint cannot tell what of it is done.
    with pytest.raises(KeyboardInterrupt):
        sweep(first_bars(sample, 500), GRID, Costs(13), table=path, progress=interrupted_after(1))
    assert not path.exists()
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"all.npy: cannot be written: No space left on device"):
        sweep(first_bars(sample, 500), GRID, Costs(13), table=path)
    assert not path.exists()


def test_a_table_of_another_kind_is_refused(sample: Bars, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"table must end in .npy or .parquet, was .*all.csv"):
        sweep(first_bars(sample, 500), GRID, Costs(13), table=tmp_path / "all.csv")
