"""Bars with everything that trading on them needs: side, pip, spread, and where they are from."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from sep_engine.cli.source import Source, decimal_option
from sep_engine.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from sep_engine.backtest import PriceSide
    from sep_engine.data import Bars, Sample
    from sep_engine.evidence.capacity import Volume
    from sep_engine.model.volume import Counted

PIPS_MAX: Final = 1_000_000  # of a cost; ticks stay far below what an integer holds

SideOption = Annotated[
    str | None,
    typer.Option(
        "--side",
        help="Side that the bars of a file are of: bid, ask or mid (by default). Stored data and "
        "the sample know theirs.",
    ),
]
EntryOption = Annotated[
    str | None,
    typer.Option(
        "--entry",
        help="Price of the bar after its decision at which a position is entered: open (by "
        "default) or close.",
    ),
]


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Bars to trade on.

    Attributes:
        side: of the bars; prices of trades lie between bid and ask, as mid prices do.
        pip: in price.
        spread: in ticks: one number, or (n,) int64 with one for each bar.
        assumed: whether the spread was not measured on these bars; source: where it is from.
        instrument: None if nobody said.
        volume_of: what the volume of the bars counts.
        origin: everything else that is known, for people.
        is_said: whether anybody or anything says what the spread is.
    """

    bars: Bars
    side: PriceSide
    pip: Decimal
    spread: int | NDArray[np.int64]
    assumed: bool
    source: str
    instrument: str | None
    volume_of: Counted
    origin: Mapping[str, Any]
    synthetic: bool
    is_said: bool


def given_bars(
    source: Source,
    *,
    side: str | None,
    pip: str | None,
    spread_pips: str | None,
    quotes: str | None,
    spread_option: str = "--spread-pips",
    unsaid_pips: str | None = None,
) -> Given:
    """Return the bars of a source with what their spread is.

    Args:
        side: as it was told; None is what is known, mid if nothing is.
        quotes: path of a file with a quote for every bar.
        spread_option: what messages call `spread_pips`.
        unsaid_pips: spread where nothing is said or known of it, None to refuse.

    Raises:
        ArgumentError: the spread is not said and not known, or what was said does not fit.
    """
    known_side: str | None = None
    instrument: str | None = None
    volume_of: Counted = "unknown"
    synthetic = source.synthetic
    origin: Mapping[str, Any] = {}
    own_pip = decimal_option("--pip", pip)
    own_spread: NDArray[np.int64] | None = None
    usual_spread: str | None = None
    if source.use_sample:
        sample = source.sample()
        bars, metadata = sample.bars, sample.metadata
        known_side, own_pip = metadata["price_side"], sample_pip(sample, own_pip)
        instrument, usual_spread = sample.instrument.name, metadata["assumed_spread_pips"]
        origin = {
            "origin": f"{metadata['origin']['package']} {metadata['origin']['version']}",
            "licence": metadata["licence"],
            "vendor_terms": metadata["vendor_terms"],
            "price_side": known_side,
            "time_zone": metadata["time_zone_evidence"],
        }
    elif source.is_stored:
        stored = source.stored()
        bars, own_pip = stored.bars, own_pip or stored.pip
        instrument, volume_of = stored.metadata["instrument"], stored.volume_of
        origin = {"instrument": instrument, **stored.metadata["origin"]}
        synthetic = synthetic or bool(origin["synthetic"])
        known_side, own_spread = stored.side, stored.spread_ticks
    else:
        bars = source.bars()
    pip_price = own_pip or usual_pip(bars.tick)
    if known_side is not None and side not in (None, known_side):
        raise ArgumentError(f"--side {side}: {bars.name} holds {known_side} prices; leave it out")
    spread: int | NDArray[np.int64]
    assumed, is_said = False, True
    if quotes is not None and spread_pips is not None:
        raise ArgumentError(f"{spread_option} and --quotes both say what the spread is: give one")
    if quotes is not None:
        spread, text = spread_series(Path(quotes), bars, source), f"median of {Path(quotes).name}"
    elif own_spread is not None and spread_pips is None:
        spread, text = own_spread, "median of its closes"
    else:
        text = "given on the command line" if spread_pips else "assumed for the sample"
        pips, assumed = spread_pips or usual_spread, True
        is_said = pips is not None
        if pips is None and unsaid_pips is not None and pip_price % bars.tick == 0:
            pips, text = unsaid_pips, f"nobody said it: {unsaid_pips} pip is taken"
        if pips is None:
            raise ArgumentError(f"say what the spread is: {spread_option} 1.3, or --quotes FILE")
        spread = whole_ticks(spread_option, pips, pip_price, bars.tick)
    return Given(
        bars,
        _side(side or known_side or "mid"),
        pip_price,
        spread,
        assumed,
        text,
        instrument,
        volume_of,
        origin,
        synthetic,
        is_said,
    )


def _side(name: str) -> PriceSide:
    from sep_engine.backtest import SIDES

    if name not in SIDES:
        raise ArgumentError(f"--side must be one of {', '.join(SIDES)}; was {name!r}")
    return name


def bars_volume(bars: Bars, said: str | None, known: Counted) -> Volume | None:
    """Return the volume of bars, None if they have none; it counts what was said, or is known."""
    from sep_engine.evidence.capacity import Volume

    return None if bars.volume is None else Volume(bars.volume, cast("Counted", said or known))


def sample_pip(sample: Sample, said: Decimal | None) -> Decimal:
    """Return the pip of the sample; ArgumentError if another was said."""
    known = sample.instrument.pip
    if said not in (None, known):
        raise ArgumentError(f"--pip {said}: that of {sample.bars.name} is {known}; leave it out")
    return known


def usual_pip(tick: Decimal) -> Decimal:
    """Return the usual FX pip: prices with two or three decimals (yen) have pips of 0.01."""
    return Decimal("0.01") if tick >= Decimal("0.0005") else Decimal("0.0001")


def whole_ticks(name: str, pips: str, pip: Decimal, tick: Decimal) -> int:
    """Return pips as ticks; ArgumentError if they are no whole number of them or below 0."""
    try:
        value = Decimal(pips)
    except InvalidOperation:
        raise ArgumentError(f"{name} must be a number, was {pips!r}") from None
    if not value.is_finite() or not 0 <= value <= PIPS_MAX:
        raise ArgumentError(f"{name} must be in 0..{PIPS_MAX:,}, was {pips}")
    ticks = value * pip / tick
    if ticks != ticks.to_integral_value():
        raise ArgumentError(f"{name} must be a whole number of ticks of {tick}, was {pips} pips")
    return int(ticks)


def bar_spreads(
    path: Path, bars: Bars, *, calendar: str, time_zone: str | None, accept: Collection[str]
) -> NDArray[np.float64]:
    """Return (n,) the spread of each bar in price, from a file with a quote for every bar.

    calendar, time_zone, accept: as those of the bars.
    """
    import numpy as np

    from sep_engine.data import load_quotes

    quotes = load_quotes(path, calendar=calendar, time_zone=time_zone, accept=accept)
    if not np.array_equal(quotes.times, bars.times):
        raise ArgumentError(f"{path}: its times must be those of the bars, one quote a bar")
    return quotes.ask - quotes.bid


def spread_series(path: Path, bars: Bars, source: Source) -> NDArray[np.int64]:
    """Return the same in whole ticks; the file is read as that of the bars."""
    import numpy as np

    spreads = bar_spreads(
        path,
        bars,
        calendar=source.calendar,
        time_zone=source.time_zone,
        accept=source.accept or (),
    )
    ticks = spreads / float(bars.tick)
    if np.abs(ticks - np.rint(ticks)).max() > 0.01:
        raise ArgumentError(f"{path}: its spreads must be whole ticks of {bars.tick}")
    return np.rint(ticks).astype(np.int64)
