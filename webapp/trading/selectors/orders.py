"""Everything that is known about one order."""

from typing import Any

from webapp.trading.models import BrokerFact, EventLog, Order
from webapp.trading.selectors.resources import order_resource
from webapp.trading.wire import time_text

ROWS_MAX = 200


def order_detail(order: Order) -> dict[str, Any]:
    """Return an order with its risk checks, its events and the broker's facts about it."""
    events = EventLog.objects.filter(stream="orders", data__id=order.pk).order_by("seq")
    facts = BrokerFact.objects.filter(
        account_id=order.account_id,
        transaction_id__in=order.fills.values_list("transaction_id", flat=True),
    )
    about = BrokerFact.objects.filter(account_id=order.account_id, raw__client_id=order.client_id)
    return {
        **order_resource(order),
        "checks": order.checks,
        "events": [
            {"seq": event.seq, "time": time_text(event.time), "state": event.data["state"]}
            for event in events[:ROWS_MAX]
        ],
        "facts": [
            {
                "transaction_id": fact.transaction_id,
                "kind": fact.kind,
                "raw": fact.raw,
                "applied_at": time_text(fact.applied_at),
            }
            for fact in (facts | about).order_by("transaction_id")[:ROWS_MAX]
        ],
    }
