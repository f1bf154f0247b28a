"""How much a rule turns over, and how large its fills could be by what its bars hold.

What a bar's volume counts decides what can be said. Where it is units of base traded, a fill can be
held against the units that others traded in the same bar; where it is updates of a price, as spot
FX vendors count, or unknown, no size follows from it; and bars without volumes say nothing. None of
it is the depth of a book: what a larger order would pay is not in bars.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sep_engine.errors import ArgumentError
from sep_engine.model.volume import COUNTED, Counted

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
PARTICIPATION: Final = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """The volume of bars.

    counts: (n,) float64, >= 0, oldest first.
    of: what is counted: units of base traded, updates of the price, or nobody knows what.
    """

    counts: Floats
    of: Counted

    def __post_init__(self) -> None:
        if self.of not in COUNTED:
            raise ArgumentError(f"volume must be one of {', '.join(COUNTED)}; was {self.of!r}")


def capacity(
    entered: Ints,
    exited: Ints,
    *,
    bars: int,
    days: int,
    units: Decimal | None = None,
    volume: Volume | None = None,
) -> dict[str, Any]:
    """Return the turnover of trades, and what the volume says of their size, for `json.dumps`.

    Args:
        entered, exited: (k,) the bar of each trade's two fills.
        bars, days: how many there are.
        units: of base in a position, None if that is not known.
        volume: of the bars, None if they have none; all zeros are none.

    `fills_a_day` is two a trade, `share_of_bars` that of the bars with a fill, `units_a_day` None
    without units. With units of base as volume, `fill_units` is one
    hundredth of the volume of the bars with a fill (the median, and the fifth percentile, which
    95 % of the fills reach), else None.

    Raises:
        ArgumentError: a volume of another length than the bars, below 0, or not finite.
    """
    if volume is not None and (
        volume.counts.shape != (bars,)
        or not np.isfinite(volume.counts).all()
        or volume.counts.min(initial=0.0) < 0
    ):
        raise ArgumentError(f"volume must be ({bars},), finite and >= 0")
    fills = np.concatenate([entered, exited])
    a_day = fills.size / days
    known = volume is not None and bool(volume.counts.any()) and fills.size > 0
    found: dict[str, Any] = {
        "volume": volume.of if volume is not None and volume.counts.any() else "none",
        "fills_a_day": a_day,
        "share_of_bars": float(np.unique(fills).size / bars),
        "units_a_day": None if units is None else float(units) * a_day,
        "participation": PARTICIPATION,
        "fill_units": None,
        "volume_there": None,
        "volume_of_all": None,
    }
    if known:
        assert volume is not None
        there = volume.counts[fills]
        found["volume_there"] = float(np.median(there))
        found["volume_of_all"] = float(np.median(volume.counts))
        if volume.of == "units":
            found["fill_units"] = {
                "median": PARTICIPATION * float(np.median(there)),
                "low": PARTICIPATION * float(np.quantile(there, 0.05, method="lower")),
            }
    return {**found, "text": _text(found, traded=fills.size > 0)}


def _text(found: dict[str, Any], *, traded: bool) -> str:
    if not traded:
        return "cannot be estimated: nothing was traded"
    turnover = (
        f"{found['fills_a_day']:.3g} fills a day in {found['share_of_bars']:.1%} of the bars"
        if found["units_a_day"] is None
        else f"{found['units_a_day']:,.0f} units a day, fills in {found['share_of_bars']:.1%} of "
        "the bars"
    )
    if found["fill_units"] is not None:
        size = found["fill_units"]
        return (
            f"turns over {turnover}; a fill of {size['median']:,.4g} units is "
            f"{found['participation']:.0%} of the volume of the median bar that it fills in, and "
            f"one of {size['low']:,.4g} is no more than that in 95 % of them"
        )
    if found["volume"] == "none":
        return f"cannot be estimated from these bars: they have no volumes. Turns over {turnover}"
    why = (
        "their volumes count updates of the price, not units"
        if found["volume"] == "updates"
        else "nobody says what their volumes count (units or updates: sep verdict --volume)"
    )
    return (
        f"cannot be estimated from these bars: {why}. The bars with a fill "
        f"have {found['volume_there']:,.4g} (median), all bars {found['volume_of_all']:,.4g}. "
        f"Turns over {turnover}"
    )
