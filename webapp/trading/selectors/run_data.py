"""The bars that a run is about: of a sample, of a data set, or of stored candles.

A reference is what a request names; pinning it writes down which bars it meant then, so that a
run means the same when more candles have come.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from sep_engine.backtest.market import SIDES, PriceSide
from sep_engine.data import Bars, Sample, Table, inspect, load_sample
from sep_engine.data.bars import bars_of_table
from sep_engine.data.store import catalogue, data_set, is_data_set, load_stored
from sep_engine.data.table import BAR_COLUMNS
from sep_engine.errors import ArgumentError, DataError
from sep_engine.ledger import sha256_of
from sep_engine.model.volume import Counted
from webapp.trading.granularity import GRANULARITIES, duration, nanoseconds
from webapp.trading.models import Candle, Instrument
from webapp.trading.selectors.standing import assumed_spread
from webapp.trading.wire import decimal_text, time_text

Json = dict[str, Any]

CANDLES_MAX = 500_000


@dataclass(frozen=True, slots=True)
class Material:
    """Bars, and what a run must know of them.

    Attributes:
        reference: JSON that finds the same bars again.
        instrument, granularity: what they are the prices of.
        pip: in price.
        spread_pips: what is taken where nobody says otherwise; None: somebody must say.
        measured: the spread is that of these bars, not assumed.
        spreads: (n,) ticks, that of each bar, if it was measured; `spread_pips` is its median.
        volume_of: what the volume of the bars counts, as `Stored.volume_of`.
        origin: where they are from, for people.
    """

    reference: Json
    bars: Bars
    instrument: str
    granularity: str
    side: PriceSide
    pip: Decimal
    spread_pips: Decimal | None
    origin: Mapping[str, str]
    synthetic: bool
    measured: bool = False
    volume_of: Counted = "unknown"
    spreads: NDArray[np.int64] | None = None

    @property
    def title(self) -> str:
        return self.bars.name

    @property
    def counted_as(self) -> str:
        """What the ledger counts trials by, a SHA-256: the bars, or the series that they are of.

        Candles come every hour: counted by their bars, every look at them would be the first.
        """
        if "instrument" not in self.reference:
            return self.bars.content_sha256
        parts = ("instrument", "granularity", "price_side", "source")
        return sha256_of({part: self.reference[part] for part in parts})

    def pip_ticks(self) -> float:
        return float(self.pip / self.bars.tick)

    def spread_ticks(self, spread_pips: str | None) -> tuple[int, bool]:
        """Return the spread in ticks, and whether it is assumed: not measured on these bars.

        Raises:
            ArgumentError: it is not said and none is assumed, or it is no whole number of ticks.
        """
        if spread_pips is None and self.spread_pips is None:
            raise ArgumentError("spread_pips must be said: no spread is known for these bars")
        pips = self.spread_pips if spread_pips is None else Decimal(spread_pips)
        assert pips is not None
        return whole_ticks("spread_pips", pips, self), not (spread_pips is None and self.measured)


def whole_ticks(name: str, pips: Decimal, material: Material) -> int:
    """Return pips as ticks; ArgumentError if they are no whole number of them or below 0."""
    ticks = pips * material.pip / material.bars.tick
    if ticks < 0 or ticks != ticks.to_integral_value():
        raise ArgumentError(
            f"{name} must be >= 0 and a whole number of ticks of {material.bars.tick}, "
            f"was {decimal_text(pips)} pips"
        )
    return int(ticks)


def material(reference: Mapping[str, Any]) -> Material:
    """Return the bars that a reference names.

    Args:
        reference: {"sample"}; {"stored"}, the name of a data set; or {"instrument",
            "granularity"[, "from", "to"]} with times as ISO-8601; or one that was pinned.

    Raises:
        DataError: there are no such bars, or they are not what was pinned.
    """
    if "sample" in reference:
        return _of_sample(str(reference["sample"]))
    if "stored" in reference:
        return _of_data_set(str(reference["stored"]))
    return _of_candles(reference)


@lru_cache(maxsize=4)
def _sample(name: str) -> Sample:
    return load_sample(name)


def _of_sample(name: str) -> Material:
    given = _sample(name)
    metadata = given.metadata
    origin = metadata["origin"]
    return Material(
        reference={"sample": name},
        bars=given.bars,
        instrument=given.instrument.name,
        granularity=metadata["granularity"],
        side=_side(metadata["price_side"]),
        pip=given.instrument.pip,
        spread_pips=Decimal(metadata["assumed_spread_pips"]),
        origin={
            "origin": f"{origin['package']} {origin['version']}",
            "licence": metadata["licence"],
            "vendor_terms": metadata["vendor_terms"],
            "price_side": metadata["price_side"],
            "time_zone": metadata["time_zone_evidence"],
        },
        synthetic=bool(metadata["synthetic"]),
    )


def _of_data_set(name: str) -> Material:
    folder = data_set(settings.SEP_DATA_PATH, name)
    if not is_data_set(folder):
        raise DataError(f"there is no data set {name}; `sep data list` shows those there are")
    given = load_stored(folder)
    metadata, bars = given.metadata, given.bars
    origin, spread = metadata["origin"], None
    if given.spread is not None:
        ticks = round(float(np.median(given.spread)) / float(bars.tick))
        spread = ticks * bars.tick / given.pip
    return Material(
        reference={"stored": name},
        bars=bars,
        instrument=metadata["instrument"],
        granularity=_granularity(metadata["bars_of_s"]),
        side=_side(given.side),
        pip=given.pip,
        spread_pips=spread,
        measured=spread is not None,
        volume_of=given.volume_of,
        spreads=given.spread_ticks,
        origin={
            "origin": f"{origin['vendor']}, {origin['source']}",
            "licence": origin["licence"],
            "price_side": origin["price_side"],
            "time_zone": origin["time_zone"],
        },
        synthetic=bool(origin["synthetic"]),
    )


def data_sets() -> list[Json]:
    """Return what is known of every data set, by name."""
    return [
        {
            "name": found["name"],
            "instrument": found["instrument"],
            "granularity": _granularity(found["bars_of_s"]),
            "bars": found["rows"],
            "first": found["first"],
            "last": found["last"],
            "content_sha256": found["content_sha256"],
            "synthetic": bool(found["origin"]["synthetic"]),
            "spread_known": bool(found["spread_known"]),
        }
        for found in catalogue(settings.SEP_DATA_PATH)
    ]


def _granularity(seconds: float) -> str:
    step = timedelta(seconds=seconds)
    return next((name for name in GRANULARITIES if duration(name) == step), f"{seconds:g} s")


def _of_candles(reference: Mapping[str, Any]) -> Material:
    name, granularity = reference["instrument"], reference["granularity"]
    instrument = Instrument.objects.filter(name=name).first()
    if instrument is None or granularity not in GRANULARITIES:
        raise DataError(f"there is no instrument {name} with bars of {granularity}")
    found = Candle.objects.filter(instrument=instrument, granularity=granularity)
    newest = found.order_by("-start").values_list("price_side", "source").first()
    side = reference.get("price_side") or (newest and newest[0])
    source = reference.get("source") or (newest and newest[1])
    found = found.filter(price_side=side, source=source)
    if "from" in reference:
        found = found.filter(start__gte=datetime.fromisoformat(reference["from"]))
    if "to" in reference:
        found = found.filter(start__lte=datetime.fromisoformat(reference["to"]))
    rows = list(
        found.order_by("start").values_list("start", "open", "high", "low", "close", "volume")[
            : CANDLES_MAX + 1
        ]
    )
    if not rows:
        raise DataError(f"no candles of {name} {granularity} are stored in that range")
    if len(rows) > CANDLES_MAX:
        raise DataError(f"more than {CANDLES_MAX:,} candles: choose a shorter range")
    starts = [row[0] for row in rows]
    bars = _bars(rows, instrument=instrument, step=duration(granularity))
    return Material(
        reference={
            "instrument": name,
            "granularity": granularity,
            "from": time_text(starts[0]),
            "to": time_text(starts[-1]),
            "price_side": side,
            "source": source,
        },
        bars=bars,
        instrument=name,
        granularity=granularity,
        side=_side(str(side)),
        pip=instrument.pip,
        spread_pips=assumed_spread(instrument.pk, granularity),
        # A candle of OANDA counts the prices that were made.
        volume_of="updates" if source == "oanda" else "unknown",
        origin={"origin": f"candles stored from {source}", "price_side": str(side)},
        synthetic=False,
    )


def _bars(
    rows: list[tuple[datetime, Decimal, Decimal, Decimal, Decimal, Decimal | None]],
    *,
    instrument: Instrument,
    step: timedelta,
) -> Bars:
    times = nanoseconds([row[0] for row in rows])
    prices = np.array([row[1:5] for row in rows], dtype=np.float64).T
    columns = dict(zip(BAR_COLUMNS, prices, strict=True))
    volumes = [row[5] for row in rows]
    if None not in volumes:
        columns["volume"] = np.array(volumes, dtype=np.float64)
    table = Table(
        path=Path(instrument.name),
        lines=np.arange(1, times.size + 1),
        times=times,
        columns=columns,
        bad_rows=(),
        sha256="",
    )
    quality = inspect(table, calendar=instrument.calendar)
    for error in quality.errors:
        raise DataError(f"{instrument.name}, candle {error.first_line}: {error.kind}: {error.text}")
    return bars_of_table(
        table,
        tick=instrument.tick.normalize(),
        duration=step,
        calendar=instrument.calendar,
        quality=quality,
    )


def _side(name: str) -> PriceSide:
    for side in SIDES:
        if side == name:
            return side
    raise DataError(f"price side must be one of {', '.join(SIDES)}, was {name!r}")
