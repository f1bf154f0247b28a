"""The ledgers on disk: one SQLite file, each transaction written before it is answered."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from sep_oanda_server.ledger import Ledger, Terms
from sep_oanda_server.market import Quote
from sep_oanda_server.wire import Json

_TABLES = """
CREATE TABLE IF NOT EXISTS transactions (
    account TEXT NOT NULL, id INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (account, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS transactions_are_final BEFORE UPDATE ON transactions
BEGIN SELECT RAISE(ABORT, 'a transaction never changes'); END;
CREATE TRIGGER IF NOT EXISTS transactions_stay BEFORE DELETE ON transactions
BEGIN SELECT RAISE(ABORT, 'a transaction is never removed'); END;
"""


class Store:
    """Appends what is new of each ledger. `":memory:"` keeps nothing beyond the process."""

    def __init__(self, path: str | Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_TABLES)
        self._written: dict[str, int] = {}
        self._marks: dict[str, str] = {}

    def load(self, terms: Terms) -> Ledger | None:
        """The account as it was left, or None if it is not in the file.

        Raises:
            ValueError: it was opened in another currency, or netted and is to hedge, or vice versa.
        """
        account_id = terms.account_id
        kind = f"{terms.currency} {'hedging' if terms.hedging else 'netting'}"
        kept = self._read(f"kind {account_id}")
        if kept is None:
            self._write(f"kind {account_id}", kind)
        elif kept != kind:
            raise ValueError(f"account {account_id} in this file is {kept}, not {kind}")
        rows = self._database.execute(
            "SELECT body FROM transactions WHERE account = ? ORDER BY id", (account_id,)
        ).fetchall()
        if not rows:
            return None
        marks = json.loads(self._read(f"marks {account_id}") or "{}")
        ledger = Ledger.replayed(
            terms,
            (json.loads(body) for (body,) in rows),
            {int(order_id): Decimal(price) for order_id, price in marks.items()},
        )
        self._written[account_id] = ledger.last_id
        return ledger

    def save(self, ledgers: Mapping[str, Ledger], quotes: Mapping[str, Quote], cursor: int) -> None:
        """Write what is new, in one database transaction. Nothing new costs nothing."""
        rows = [
            (account_id, int(one["id"]), json.dumps(one))
            for account_id, ledger in ledgers.items()
            for one in ledger.transactions[self._written.get(account_id, 0) :]
        ]
        marks = {
            account_id: json.dumps({str(key): str(price) for key, price in ledger.marks.items()})
            for account_id, ledger in ledgers.items()
        }
        if not rows and marks == self._marks:
            return
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany("INSERT INTO transactions VALUES (?, ?, ?)", rows)
        for account_id, text in marks.items():
            self._write(f"marks {account_id}", text)
        self._write("quotes", json.dumps([_quote_wire(one) for one in quotes.values()]))
        self._write("cursor", str(cursor))
        self._database.execute("COMMIT")
        self._marks = marks
        for account_id, ledger in ledgers.items():
            self._written[account_id] = ledger.last_id

    def quotes(self) -> list[Quote]:
        """The latest quotes at the last save."""
        return [_read_quote(one) for one in json.loads(self._read("quotes") or "[]")]

    def cursor(self) -> int:
        """How many quotes of the recording had been replayed at the last save."""
        return int(self._read("cursor") or 0)

    def close(self) -> None:
        self._database.close()

    def _read(self, key: str) -> str | None:
        row = self._database.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _write(self, key: str, value: str) -> None:
        self._database.execute("REPLACE INTO state VALUES (?, ?)", (key, value))


def _quote_wire(quote: Quote) -> Json:
    return {
        "instrument": quote.instrument,
        "time_ns": quote.time_ns,
        "bid": str(quote.bid),
        "ask": str(quote.ask),
        "bid_liquidity": quote.bid_liquidity,
        "ask_liquidity": quote.ask_liquidity,
        "tradeable": quote.tradeable,
    }


def _read_quote(source: Json) -> Quote:
    return Quote(**source | {"bid": Decimal(source["bid"]), "ask": Decimal(source["ask"])})
