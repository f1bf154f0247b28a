"""The kill switch as an order meets it: the state of every scope that it belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import Q

from sep_engine.execution.states import (
    PROTECTIVE,
    Origin,
    TradingMode,
)
from webapp.trading import halt_flag
from webapp.trading.models import (
    Order,
    TradingState,
)


@dataclass(frozen=True, slots=True)
class Modes:
    """The kill switch as it was read in one statement: everything, an account, its strategies."""

    everything: TradingMode | None
    account: TradingMode | None
    strategies: Mapping[int, TradingMode]
    flag: bool

    @classmethod
    def read(cls, *, account_id: int, lock: bool) -> "Modes":
        """Read them. `lock`: hold the rows until the transaction ends, so that a change of the
        kill switch comes wholly before or wholly after what is decided here.
        """
        everything = account = None
        strategies: dict[int, TradingMode] = {}
        with connection.cursor() as cursor:
            cursor.execute(*_states_asked(account_id, lock))
            rows = cursor.fetchall()
        for scope, strategy_id, state in rows:
            if scope == "GLOBAL":
                everything = TradingMode(state)
            elif scope == "ACCOUNT":
                account = TradingMode(state)
            else:
                strategies[strategy_id] = TradingMode(state)
        return cls(everything, account, strategies, halt_flag.is_set())

    def of(self, order: Order) -> tuple[TradingMode, ...]:
        """Return the state of every scope that the order belongs to, the halt flag's among them.

        A row that is missing counts as the strictest state, and so does the flag.
        """
        wanted = [self.everything, self.account]
        if order.strategy_id is not None:
            wanted.append(self.strategies.get(order.strategy_id))
        there = tuple(mode for mode in wanted if mode is not None)
        if len(there) == len(wanted) and not self.flag:
            return there
        return (TradingMode.HALTED, *there)


@lru_cache(maxsize=64)
def _states_asked(account_id: int, lock: bool) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that reads the states; to make it takes longer than to run it, and it
    runs before each send.
    """
    scopes = (
        Q(scope="GLOBAL")
        | Q(scope="ACCOUNT", account_id=account_id)
        | Q(scope="STRATEGY", strategy__account_id=account_id)
    )
    rows = TradingState.objects.filter(scopes).order_by("pk")
    if lock:
        rows = rows.select_for_update(of=("self",), no_key=True)
    return rows.values_list("scope", "strategy_id", "state").query.sql_with_params()


def modes_for(order: Order) -> tuple[TradingMode, ...]:
    """Return the state of every scope that the order belongs to, the halt flag's among them."""
    return Modes.read(account_id=order.account_id, lock=False).of(order)


def allowed_by(modes: tuple[TradingMode, ...], order: Order) -> bool:
    """Return whether the kill switch lets this order be sent."""
    if order.reduce_only and order.origin == Origin.CLOSE_EVERYTHING:
        return True
    if order.reduce_only:
        return TradingMode.HALTED not in modes
    return set(modes) == {TradingMode.ACTIVE}


def may_rest(modes: tuple[TradingMode, ...], order: Order) -> bool:
    """Return whether an order of ours that waits may go on waiting: what could open may not.

    Stops and targets of positions stay at any state, and so does what closes everything.
    """
    if order.type in PROTECTIVE or order.origin == Origin.CLOSE_EVERYTHING:
        return True
    return allowed_by(modes, order)
