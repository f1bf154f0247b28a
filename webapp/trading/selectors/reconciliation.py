"""The comparisons of our books with the venue's, as the page shows them."""

from typing import Any

from webapp.trading.models import Order, Reconciliation
from webapp.trading.selectors.resources import reconciliation_resource

ROWS_MAX = 1_000
_KINDS = (("position", "positions"), ("trade", "trades"), ("order", "orders"))


def reconciliation_detail(run: Reconciliation) -> dict[str, Any]:
    """Return a comparison row by row: what we think, what the venue says, whether it is the same.

    Rows are empty when the venue said nothing.
    """
    local, reported = run.local, run.reported
    rows: list[dict[str, Any]] = []
    if local is not None and reported is not None:
        for what, key in (("transaction", "last_transaction_id"), ("balance", "balance")):
            rows.append(_row(what, "", str(local[key]), str(reported[key])))
        for what, kind in _KINDS:
            ours, theirs = local[kind], reported[kind]
            for key in sorted({*ours, *theirs}):
                rows.append(_row(what, key, ours.get(key), theirs.get(key)))
        _name_orders(run, rows)
    return {**reconciliation_resource(run), "rows": rows[:ROWS_MAX]}


def _row(what: str, key: str, local: str | None, reported: str | None) -> dict[str, Any]:
    return {
        "what": what,
        "key": key,
        "name": "",
        "order_id": None,
        "origin": "",
        "local": local,
        "reported": reported,
        "same": local == reported,
    }


def _name_orders(run: Reconciliation, rows: list[dict[str, Any]]) -> None:
    """Say of each order row which order of ours it is and who made it."""
    names = [row["key"] for row in rows if row["what"] == "order"]
    known = {
        order.client_id: order
        for order in Order.objects.filter(account_id=run.account_id, client_id__in=names)
    }
    for row in rows:
        if row["what"] == "order" and (order := known.get(row["key"])):
            row |= {"order_id": order.pk, "origin": order.origin, "name": order.type}
