"""Which orders may be on their way at the same time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sep_engine.execution.states import OrderState

TOGETHER_MAX = 16


@dataclass(frozen=True, slots=True)
class Waiting:
    """An order of the account that has not ended.

    Attributes:
        withdrawn: it is to be withdrawn or cancelled.
        alone: what it does depends on what came before it in its instrument: it reduces what is
            held, or takes another order's place.
    """

    pk: int
    state: OrderState
    instrument: str
    withdrawn: bool
    alone: bool


def turns(orders: Iterable[Waiting]) -> Iterator[list[Waiting]]:
    """Split orders into turns; those of a turn are judged one by one and sent without waiting.

    Entries are judged with everything before them counted as if it filled, so they may go
    together. An order that stands alone waits for all before it in its instrument, and all after
    it there wait for it. The order of the orders is kept.
    """
    turn: list[Waiting] = []
    entered: set[str] = set()
    closed: set[str] = set()
    for one in orders:
        waits = one.instrument in closed or (one.alone and one.instrument in entered)
        if turn and (waits or len(turn) == TOGETHER_MAX):
            yield turn
            turn, entered, closed = [], set(), set()
        turn.append(one)
        (closed if one.alone else entered).add(one.instrument)
    if turn:
        yield turn
