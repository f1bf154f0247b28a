"""Everything that is known about one order."""

from collections.abc import Iterable
from typing import Any

from webapp.trading.models import BrokerFact, EventLog, Order
from webapp.trading.selectors.resources import order_resource, signal_resource
from webapp.trading.wire import decimal_text, time_text

ROWS_MAX = 200


def order_detail(order: Order) -> dict[str, Any]:
    """Return an order with its checks, its events, the broker's facts and what it belongs to."""
    events = EventLog.objects.filter(stream="orders", subject=order.pk).order_by("seq")
    facts = BrokerFact.objects.filter(pk__in=_facts_of(order)).order_by("transaction_id")
    signal = order.signal
    return {
        **order_resource(order),
        "account": {"name": order.account.name, "kind": order.account.kind},
        "created_by": None if order.created_by is None else order.created_by.get_username(),
        "checks": order.checks,
        "signal": None if signal is None else {**signal_resource(signal), "inputs": signal.inputs},
        "related": _related(order),
        "events": _life(events[:ROWS_MAX]),
        "facts": [
            {
                "transaction_id": fact.transaction_id,
                "kind": fact.kind,
                "raw": fact.raw,
                "applied_at": time_text(fact.applied_at),
            }
            for fact in facts[:ROWS_MAX]
        ],
    }


def _facts_of(order: Order) -> set[int]:
    """Return the keys of what the venue told of the order, by its names and by its fills."""
    facts = BrokerFact.objects.filter(account_id=order.account_id).order_by()
    filled = list(order.fills.values_list("transaction_id", flat=True))
    # One after the other, with the conditions of the indexes: joined by OR they read all facts.
    ways = [facts.filter(client_id=order.client_id).exclude(client_id="")]
    if order.venue_order_id:
        named = facts.filter(venue_order_id=order.venue_order_id)
        ways.append(named.exclude(venue_order_id=""))
    ways.append(facts.filter(transaction_id__in=filled[:ROWS_MAX]))
    return {key for way in ways for key in way.values_list("pk", flat=True)[:ROWS_MAX]}


def _life(events: Iterable[EventLog]) -> list[dict[str, Any]]:
    """Return what happened; an event that changed neither state nor fill is left out."""
    life: list[dict[str, Any]] = []
    for event in events:
        data = event.data
        told = {
            "state": data["state"],
            "cause": data.get("cause", ""),
            "filled_units": data.get("filled_units", "0"),
        }
        if life and told.items() <= life[-1].items():
            continue
        life.append({"seq": event.seq, "time": time_text(event.time), **told})
    return life


def _related(order: Order) -> list[dict[str, Any]]:
    """Return the orders that this one belongs with, and how, oldest first."""
    rows = Order.objects.filter(account_id=order.account_id)
    before = (("opened by", order.parent_id), ("in place of", order.replaces_id))
    found = [(how, rows.get(pk=key)) for how, key in before if key is not None]
    found += [("replaced by", one) for one in rows.filter(replaces=order)]
    found += [("brought with it", one) for one in rows.filter(parent=order).order_by("pk")]
    return [
        {
            "how": how,
            "id": one.pk,
            "type": one.type,
            "units": decimal_text(one.units),
            "state": one.state,
        }
        for how, one in found[:ROWS_MAX]
    ]
