"""What an order costs, and what looks at the living part, does not grow with what there was before.

The measure is SQLite's own: the instructions of its virtual machine that a piece of work runs.
They are the same on every machine, and a statement that reads all rows of an account shows.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from sep_engine.execution.states import Origin
from sep_engine.model.calendar import day_start
from webapp.tests.test_oanda_trader import play, trade, url
from webapp.trading import streams
from webapp.trading.brokers.base import AccountReport
from webapp.trading.models import BrokerAccount, Closing, Order, RiskLimit, StreamHead
from webapp.trading.selectors.closing import live_orders
from webapp.trading.selectors.orders import order_detail
from webapp.trading.selectors.performance import performance_current
from webapp.trading.services.orders import order_submit
from webapp.trading.services.performance import totals_keep
from webapp.trading.services.reconciliation import books_compare
from webapp.trading.trader.recent import SentCount, like_order_age_s
from webapp.trading.trader.trader import Trader

__all__ = ["trade", "url"]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="it counts SQLite's instructions"),
]

MANY = 10_000
TURN = 8


class Steps:
    """Instructions by the statement that ran last, and how often each ran."""

    def __init__(self) -> None:
        self.by_statement: Counter[str] = Counter()
        self.times: Counter[str] = Counter()

    @contextmanager
    def counted(self) -> Iterator[None]:
        sql = ""

        def tick() -> None:
            self.by_statement[sql] += 1

        def noted(execute: Any, text: str, params: Any, many: Any, context: Any) -> Any:
            nonlocal sql
            sql = re.sub(r"IN \([%s, ]+\)|VALUES .*", "...", text)
            self.times[sql] += 1
            return execute(text, params, many, context)

        connection.ensure_connection()
        raw: Any = connection.connection
        raw.set_progress_handler(tick, 1)
        try:
            with connection.execute_wrapper(noted):
                yield
        finally:
            raw.set_progress_handler(None, 0)

    def total(self) -> int:
        return sum(self.by_statement.values())


def wish(count: int) -> None:
    """Want `count` market orders, each against the one before it."""
    account = BrokerAccount.objects.get()
    for number in range(count):
        order_submit(
            account=account,
            instrument=account.strategies.get().instrument,
            units=Decimal(100 if number % 2 else -100),
            origin=Origin.PERSON,
            stop_distance=Decimal("0.003"),
            now=timezone.now(),
        )


def grow() -> None:
    """Add MANY of each kind of row that an order leaves behind, as it leaves them."""
    old = "'2017-01-02 00:00:00'"
    ended = {"client_id": "{n}||t.client_id", "venue_order_id": "'old-'||{n}||t.venue_order_id",
             "created_at": old, "sent_at": old}  # fmt: skip
    with connection.cursor() as cursor, transaction.atomic():
        # Rows come into being in states that the triggers let them reach step by step alone.
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        triggers = cursor.fetchall()
        for name, _ in triggers:
            cursor.execute(f"DROP TRIGGER {name}")
        for table, where, changes in (
            ("order", "type = 'MARKET' AND state = 'FILLED'", ended),
            ("order", "type = 'STOP_LOSS' AND state = 'CANCELLED'", ended),
            ("fill", "realised_pl <> 0", {"transaction_id": "-{n}"}),
            ("brokerfact", "kind = 'FILLED'", {"transaction_id": "-{n}"}),
            ("trade", "units = 0", {"venue_trade_id": "'old-'||{n}"}),
            ("performancesnapshot", "1 = 1", {}),
            ("reconciliation", "1 = 1", {}),
            *(
                ("eventlog", f"stream = '{head.stream}' AND seq = 1",
                 {"seq": f"{head.last_seq}+{{n}}", "published_at": "t.time"})
                for head in StreamHead.objects.filter(stream__in=("orders", "positions"))
            ),
        ):  # fmt: skip
            copy(cursor, f"trading_{table}", where, changes)
        for head in StreamHead.objects.filter(stream__in=("orders", "positions")):
            StreamHead.objects.filter(pk=head.pk).update(last_seq=head.last_seq + MANY)
        for _, sql in triggers:
            cursor.execute(sql)


def copy(cursor: Any, table: str, where: str, changes: dict[str, str]) -> None:
    cursor.execute(f"SELECT * FROM {table} WHERE {where} LIMIT 1")
    assert cursor.fetchone() is not None, f"no row of {table} where {where}"
    columns = [column[0] for column in cursor.description if column[0] != "id"]
    values = [changes.get(name, f"t.{name}").format(n="n.n") for name in columns]
    cursor.execute(
        f"WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {MANY}) "
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "
        f"FROM n CROSS JOIN (SELECT * FROM {table} WHERE {where} LIMIT 1) t"
    )


def looks(one: Trader, report: AccountReport, api: Any) -> dict[str, Callable[[], Any]]:
    """Return what is done each second or minute, or for each page, and needs the living part."""
    account, now = BrokerAccount.objects.get(), timezone.now()
    unlike = Order(account=account, instrument=account.strategies.get().instrument,
                   units=Decimal(7), created_at=now)  # fmt: skip
    newest = Order.objects.select_related("instrument", "account").latest("pk")

    def closing() -> None:
        live_orders(Closing(account=account))
        one.prices.is_flat()

    return {
        "the performance": lambda: performance_current(
            account, markets=one.equity._markets(now), now=now
        ),
        "comparing": lambda: books_compare(account, report),
        "closing everything": closing,
        "an order's page": lambda: order_detail(newest),
        "the open orders": lambda: api.get("/api/orders?state=OPEN").json(),
        "what was sent today": lambda: SentCount(account).at(now, day_start=day_start(now)),
        "orders like it": lambda: like_order_age_s(unlike, within_s=Decimal(5)),
    }


def test_neither_orders_nor_looks_cost_more_after_ten_thousand_than_after_ten(
    trade: Callable[..., None], sample: Any, api: Any
) -> None:
    # Windows of a market day, so that all of the history lies within them.
    for name in ("stops_window_min", "loss_window_min", "loss_pause_min"):
        RiskLimit.objects.filter(name=name).update(value=1440)
    roomy = RiskLimit.objects.exclude(name__contains="_min").exclude(name="repeat_pause_s")
    roomy.update(value=1_000_000)
    RiskLimit.objects.filter(name__in=("loss_pause_min", "repeat_pause_s")).update(value=0)
    counts: dict[str, Steps] = {}

    def relayed() -> None:
        batch = streams._unpublished()
        streams._mark([event.pk for event in batch], timezone.now())

    async def turn(one: Trader) -> None:
        await one.db(wish, TURN)
        await one.db(one.beat)  # or a slow machine loses the account
        await one.orders.work()
        await one.db(relayed)

    async def cost(one: Trader, when: str) -> None:
        seen = await one.db(looks, one, await one.broker.account(), api)
        for what, work in {"wanting": lambda: wish(TURN), "telling": relayed, **seen}.items():
            steps = counts[f"{what} {when}"] = Steps()
            with_steps = steps.counted()
            await one.db(with_steps.__enter__)
            await one.db(work)
            await one.db(with_steps.__exit__, None, None, None)
        await one.db(one.beat)
        steps = counts[f"sending {when}"] = Steps()
        with_steps = steps.counted()
        await one.db(with_steps.__enter__)
        await one.orders.work()
        await one.db(with_steps.__exit__, None, None, None)

    async def whole(one: Trader) -> None:
        await play(one, 1)
        await turn(one)
        await turn(one)
        await cost(one, "after few")
        await one.db(grow)
        await one.db(totals_keep, one.account)  # as each comparison of the books does
        await one.db(one.facts.read_book)
        await turn(one)  # reads once what the protections need
        await cost(one, "after many")

    trade(whole)
    assert Order.objects.count() > 2 * MANY
    assert set(Order.objects.filter(type="MARKET").values_list("state", flat=True)) == {"FILLED"}
    for name, many in counts.items():
        what, when = name.split(" after ")
        if when == "few":
            continue
        few = counts[f"{what} after few"]
        # To look at a row takes some instructions: what reads them all takes more than MANY.
        slow = {sql: n for sql, n in many.by_statement.items() if n > MANY * many.times[sql] / 2}
        assert not slow, (what, slow)
        # The turns need not be cut into the same answers, and today has seen more; hence the room.
        assert many.total() < 1.3 * few.total() + 500, (what, few.total(), many.total())
