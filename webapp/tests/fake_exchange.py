"""A spot exchange on this machine that speaks as Binance does, for real ccxt to talk to.

It has one market, EUR/USD, fills market orders and crossing limits at the quote that it was given,
and can be told to lose an answer, to fail, or to show less than there is.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

NOW_MS = 1_893_456_000_000  # 2030-01-01T00:00:00Z
MARKET = {
    "symbol": "EURUSD",
    "status": "TRADING",
    "baseAsset": "EUR",
    "quoteAsset": "USD",
    "baseAssetPrecision": 8,
    "quotePrecision": 8,
    "orderTypes": ["LIMIT", "MARKET"],
    "isSpotTradingAllowed": True,
    "permissionSets": [["SPOT"]],
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0", "maxPrice": "0", "tickSize": "0.00010000"},
        {"filterType": "LOT_SIZE", "minQty": "1", "maxQty": "0", "stepSize": "1.00000000"},
    ],
}


class Refusal(Exception):
    """An error in the exchange's own words."""


class Exchange:
    """What the exchange knows. `fault`, if set, meets the next order that comes, once:

    "cut" and "500" take it and answer nothing or an error; "drop" answers nothing and takes
    nothing; "partial" fills 400 of it and keeps the rest.
    """

    def __init__(self) -> None:
        self.bid, self.ask = Decimal("1.1000"), Decimal("1.1002")
        # Somebody was here before: what is held at the start is not ours to count.
        self.held = {"USD": Decimal(50_000), "EUR": Decimal(7)}
        self.orders: list[dict[str, Any]] = []
        self.trades: list[dict[str, Any]] = []
        self.fault, self.fee, self.fee_asset = "", Decimal(0), "USD"
        self.hidden_trades = False
        self.asked: Counter[str] = Counter()
        self.lock = threading.Lock()

    def quote(self, bid: str, ask: str) -> None:
        with self.lock:
            self.bid, self.ask = Decimal(bid), Decimal(ask)
            for order in self.orders:
                self._match(order)

    def place(self, words: dict[str, str], *, most: Decimal | None = None) -> dict[str, Any]:
        price, quantity = Decimal(words.get("price", "0")), Decimal(words["quantity"])
        if words["side"] == "BUY" and quantity * (price or self.ask) > self.held["USD"]:
            raise Refusal(-2010, "Account has insufficient balance for requested action.")
        order: dict[str, Any] = {
            "symbol": "EURUSD",
            "orderId": len(self.orders) + 101,
            "clientOrderId": words["newClientOrderId"],
            "price": str(price),
            "origQty": str(quantity),
            "executedQty": "0",
            "cummulativeQuoteQty": "0",
            "status": "NEW",
            "timeInForce": words.get("timeInForce", "GTC"),
            "type": words["type"],
            "side": words["side"],
            "time": NOW_MS,
            "updateTime": NOW_MS,
            "transactTime": NOW_MS,
        }
        self.orders.append(order)
        self._match(order, most)
        if order["status"] != "FILLED" and order["timeInForce"] in ("IOC", "FOK"):
            order["status"] = "EXPIRED"
        return order

    def _match(self, order: dict[str, Any], most: Decimal | None = None) -> None:
        if order["status"] not in ("NEW", "PARTIALLY_FILLED"):
            return
        buys = order["side"] == "BUY"
        at, limit = (self.ask if buys else self.bid), Decimal(order["price"])
        if limit and (at > limit if buys else at < limit):
            return
        done, wanted = Decimal(order["executedQty"]), Decimal(order["origQty"])
        units = min(wanted - done, most or wanted)
        order["executedQty"] = str(done + units)
        order["cummulativeQuoteQty"] = str(Decimal(order["cummulativeQuoteQty"]) + units * at)
        order["status"] = "FILLED" if done + units == wanted else "PARTIALLY_FILLED"
        self.held["EUR"] += units if buys else -units
        self.held["USD"] -= units * at if buys else -units * at
        self.held[self.fee_asset] = self.held.get(self.fee_asset, Decimal(0)) - self.fee
        self.trades.append(
            {
                "symbol": "EURUSD",
                "id": len(self.trades) + 1,
                "orderId": order["orderId"],
                "price": str(at),
                "qty": str(units),
                "quoteQty": str(units * at),
                "commission": str(self.fee),
                "commissionAsset": self.fee_asset,
                "time": NOW_MS,
                "isBuyer": buys,
                "isMaker": False,
            }
        )

    def find(self, words: dict[str, str]) -> dict[str, Any]:
        for order in self.orders:
            wanted = words.get("orderId")
            if str(order["orderId"]) == wanted or (
                wanted is None and order["clientOrderId"] == words.get("origClientOrderId")
            ):
                return order
        raise Refusal(-2013, "Order does not exist.")

    def cancel(self, words: dict[str, str]) -> dict[str, Any]:
        order = self.find(words)
        if order["status"] not in ("NEW", "PARTIALLY_FILLED"):
            raise Refusal(-2011, "Unknown order sent.")
        order["status"] = "CANCELED"
        return order

    def answer(self, method: str, path: str, words: dict[str, str]) -> Any:
        """The answer to a request; None to cut the connection without one."""
        self.asked[f"{method} {path}"] += 1
        match method, path:
            case "GET", "exchangeInfo":
                return {"symbols": [MARKET]}
            case "GET", "account":
                return {
                    "balances": [
                        {"asset": name, "free": str(held), "locked": "0"}
                        for name, held in self.held.items()
                    ]
                }
            case "POST", "order":
                fault, self.fault = self.fault, ""
                if fault == "drop":
                    return None
                order = self.place(words, most=Decimal(400) if fault == "partial" else None)
                if fault == "500":
                    raise Refusal(-1000, "Internal error.")
                return None if fault == "cut" else order
            case "GET", "order":
                return self.find(words)
            case "DELETE", "order":
                return self.cancel(words)
            case "GET", "openOrders":
                return [one for one in self.orders if one["status"] in ("NEW", "PARTIALLY_FILLED")]
            case "GET", "myTrades":
                order_id = words.get("orderId")
                return [
                    one
                    for one in self.trades
                    if not self.hidden_trades and order_id in (None, str(one["orderId"]))
                ]
        raise Refusal(-1, f"unknown {method} {path}")


@contextmanager
def serving(exchange: Exchange) -> Iterator[str]:
    """Serve the exchange at a port of this machine; the address."""

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            parts = urlsplit(self.path)
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            query = parse_qs(parts.query) | parse_qs(content)
            words = {name: values[0] for name, values in query.items()}
            status = 200
            with exchange.lock:
                try:
                    answer = exchange.answer(self.command, parts.path.rsplit("/", 1)[1], words)
                except Refusal as refusal:
                    code, text = refusal.args
                    status, answer = (500 if code == -1000 else 400), {"code": code, "msg": text}
            if answer is None:
                self.close_connection = True
                self.connection.close()
                return
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = _do  # noqa: N815 - the names that the base class calls

        def log_message(self, *given: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
