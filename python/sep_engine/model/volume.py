"""What the volume of a bar counts."""

from typing import Final, Literal, get_args

Counted = Literal["units", "updates", "unknown"]
"""Units of base traded, updates of the price, or nobody knows what."""

COUNTED: Final[tuple[Counted, ...]] = get_args(Counted)
