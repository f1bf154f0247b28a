"""The sample that comes with SEP."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from sep_engine.data.bars import Bars, load_bars
from sep_engine.errors import DataError
from sep_engine.model import Instrument, Ohlc, QuoteBar
from sep_engine.model.times import from_ns

DEFAULT_SAMPLE = "eur_usd_h1"


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Real bars of one side, with the spread that is assumed for the other.

    Attributes:
        bars: the file's bars; `metadata["price_side"]` says which side they are.
        instrument: what they are the prices of.
        assumed_spread: in price, constant: the file holds no spread.
        history_bars: how many bars count as known when a replay begins.
        metadata: everything in metadata.json.
    """

    bars: Bars
    instrument: Instrument
    assumed_spread: Decimal
    history_bars: int
    metadata: Mapping[str, Any]

    def quote_bars(self) -> tuple[QuoteBar, ...]:
        """Return all bars with both sides, exact decimals, marked as having an assumed spread."""
        return quote_bars(
            self.bars,
            instrument=self.instrument,
            price_side=self.metadata["price_side"],
            assumed_spread=self.assumed_spread,
        )


def sample_path(name: str) -> Path:
    """Return the folder of a sample: under SEP_SAMPLES_PATH, in the wheel or in the source tree."""
    package = Path(__file__).resolve().parents[1]
    folders = [package / "samples", package.parents[1] / "samples"]
    if "SEP_SAMPLES_PATH" in os.environ:
        folders.insert(0, Path(os.environ["SEP_SAMPLES_PATH"]))
    for folder in folders:
        if (folder / name / "metadata.json").is_file():
            return folder / name
    places = ", ".join(str(folder) for folder in folders)
    raise DataError(f"sample {name!r} not found in {places}; set SEP_SAMPLES_PATH to its folder")


def load_sample(name: str = DEFAULT_SAMPLE) -> Sample:
    """Return the sample of a name; DataError when it is missing or its bytes are not those
    described."""
    folder = sample_path(name)
    metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    instrument = Instrument(
        name=metadata["instrument"],
        base=metadata["base"],
        quote=metadata["quote"],
        tick=Decimal(metadata["tick"]),
        pip=Decimal(metadata["pip"]),
        units_step=Decimal(metadata["units_step"]),
        price_decimals=metadata["price_decimals"],
        calendar=metadata["calendar"],
    )
    bars = load_bars(folder / "bars.csv", tick=instrument.tick, calendar=instrument.calendar)
    if bars.sha256 != metadata["sha256"]:
        raise DataError(
            f"{folder / 'bars.csv'}: sha256 is {bars.sha256}, metadata.json says "
            f"{metadata['sha256']}; make it again with samples/make_{name}.py"
        )
    return Sample(
        bars=replace(bars, name=name),
        instrument=instrument,
        assumed_spread=Decimal(metadata["assumed_spread_pips"]) * instrument.pip,
        history_bars=metadata["history_bars"],
        metadata=metadata,
    )


def quote_bars(
    bars: Bars, *, instrument: Instrument, price_side: str, assumed_spread: Decimal
) -> tuple[QuoteBar, ...]:
    """Return bars of one side as bars of both, `assumed_spread` apart at every corner.

    Args:
        bars: prices of the side `price_side`, on the grid of `instrument`.
        price_side: "bid" or "ask". The other side lies one spread below or above.
        assumed_spread: in price, >= 0, a whole number of ticks.

    Raises:
        DataError: another side, or a spread that is none of these.
    """
    if price_side not in ("bid", "ask"):
        raise DataError(f"price side must be bid or ask, was {price_side!r}")
    if assumed_spread < 0 or assumed_spread % instrument.tick != 0:
        raise DataError(f"assumed spread must be a whole number of ticks, was {assumed_spread}")
    duration = bars.duration
    columns = (bars.open_ticks, bars.high_ticks, bars.low_ticks, bars.close_ticks)
    corners = zip(*(column.tolist() for column in columns), strict=True)
    volumes = bars.volume.tolist() if bars.volume is not None else [None] * len(bars)
    result = []
    for time_ns, ticks, volume in zip(bars.times.tolist(), corners, volumes, strict=True):
        start = from_ns(time_ns)
        known = Ohlc(*(instrument.round_price(count * bars.tick) for count in ticks))
        shift = assumed_spread if price_side == "bid" else -assumed_spread
        other = Ohlc(*(price + shift for price in (known.open, known.high, known.low, known.close)))
        bid, ask = (known, other) if price_side == "bid" else (other, known)
        result.append(
            QuoteBar(
                instrument=instrument.name,
                start=start,
                end=start + duration,
                bid=bid,
                ask=ask,
                volume=None if volume is None else Decimal(repr(volume)),
                assumed_spread=True,
            )
        )
    return tuple(result)
