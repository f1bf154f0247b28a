"""What SEP is doing now: state, feed, account, strategy, and which processes are alive."""

import os
import platform
import shutil
import socket
import time
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import psutil
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import Http404
from valkey.exceptions import ValkeyError

from sep_engine.execution.states import TradingMode
from webapp.trading import halt_flag
from webapp.trading.models import (
    BrokerAccount,
    Feed,
    ProcessHeartbeat,
    Strategy,
    TradingState,
)
from webapp.trading.selectors import engine
from webapp.trading.selectors.market import valkey_client
from webapp.trading.selectors.resources import feed_resource, trading_state_resource
from webapp.trading.selectors.standing import strategy_standing
from webapp.trading.statements import Asked
from webapp.trading.wire import decimal_text, time_text

Json = dict[str, Any]

PROCESSES = ("web", "trader", "relay", "worker", "beat")
# Every process beats each 5 s.
LATE_S = 15
DOWN_S = 60
_STRICTEST = [TradingMode.HALTED, TradingMode.REDUCING, TradingMode.ACTIVE]


def account_default() -> BrokerAccount | None:
    """Return the account that the page shows: the oldest one."""
    return next(iter(_oldest()), None)


_oldest = Asked(lambda: BrokerAccount.objects.order_by("pk")[:1])


def the_account() -> BrokerAccount:
    """Return the account that the API is about, or answer 404."""
    account = account_default()
    if account is None:
        raise Http404("there is no account yet: run manage.py load_sample")
    return account


def strategy_shown(account: BrokerAccount) -> Strategy | None:
    """Return the strategy that the page shows: what trades comes before what is off."""
    rows = Strategy.objects.filter(account=account).select_related("account")
    return rows.order_by("-enabled", "pk").first()


def trading_resource(account: BrokerAccount | None, strategy: Strategy | None) -> Json:
    """Return the state of every scope, and the strictest of them with its reason."""
    rows: dict[str, TradingState] = {}
    for row in TradingState.objects.all():
        ours = (
            row.scope == TradingState.Scope.GLOBAL
            or (account is not None and row.account_id == account.pk)
            or (strategy is not None and row.strategy_id == strategy.pk)
        )
        if ours:
            rows[row.scope] = row
    if not rows:
        # The risk gate denies everything while rows are missing; so says the page.
        strictest, reason = TradingMode.HALTED.value, "No trading state is stored."
    else:
        first = min(rows.values(), key=lambda row: _STRICTEST.index(TradingMode(row.state)))
        strictest, reason = first.state, first.reason
    everything = rows.get("GLOBAL")
    recorded = everything is not None and everything.state == TradingMode.HALTED
    if halt_flag.is_set() and not recorded:
        strictest, reason = TradingMode.HALTED.value, f"Halt flag: {halt_flag.reason()}"
    return {
        "state": strictest,
        "reason": reason,
        "global": _scope(everything),
        "account": _scope(rows.get("ACCOUNT")),
        "strategy": _scope(rows.get("STRATEGY")),
    }


def feed_default() -> Feed | None:
    return Feed.objects.select_related("instrument").order_by("pk").first()


def status_resource() -> Json:
    account = account_default()
    strategy = None if account is None else strategy_shown(account)
    feed = feed_default()
    return {
        "trading": trading_resource(account, strategy),
        "feed": None if feed is None else feed_resource(feed),
        "account": account
        and {
            "id": account.pk,
            "name": account.name,
            "kind": account.kind,
            "currency": account.currency,
        },
        "strategy": strategy and strategy_resource(strategy),
        "assumed_spread": _assumed_spread(feed) if feed and feed.is_replay else None,
        "engine": engine.describe(),
    }


def strategy_resource(strategy: Strategy) -> Json:
    standing = strategy_standing(strategy)
    return {
        "id": strategy.pk,
        "name": strategy.name,
        "enabled": strategy.enabled,
        "rule": strategy.rule,
        "session": strategy.session,
        "verdict": standing.code,
        "verdict_text": standing.text,
        "verdict_run": standing.run,
    }


def health_resource(now: datetime) -> Json:
    """Return what answers: "down" without database, "degraded" when anything else is not up."""
    database, processes = _database(), []
    if database["status"] == "up":
        processes = [_process(name, now) for name in PROCESSES]
        if settings.SEP_OANDA_URL:
            processes.append(_venue(settings.SEP_OANDA_URL))
    valkey = _valkey()
    if database["status"] != "up":
        status = "down"
    elif valkey["status"] == "up" and all(one["status"] == "up" for one in processes):
        status = "ok"
    else:
        status = "degraded"
    return {
        "status": status,
        "version": settings.SEP_VERSION,
        "processes": processes,
        "database": database,
        "valkey": valkey,
        "time": time_text(now),
    }


def system_resource() -> Json:
    memory = psutil.virtual_memory()
    return {
        "version": settings.SEP_VERSION,
        "build": settings.SEP_BUILD,
        "engine": engine.describe(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count() or 1,
        "memory_mb": memory.total // 1_000_000,
        "memory_free_mb": memory.available // 1_000_000,
        "disk_free_mb": shutil.disk_usage(settings.SEP_VAR_PATH).free // 1_000_000,
    }


def _scope(row: TradingState | None) -> Json | None:
    return None if row is None else trading_state_resource(row)


def _assumed_spread(feed: Feed) -> Json:
    pips = decimal_text(feed.assumed_spread_pips)
    return {
        "pips": pips,
        "text": f"Assumed spread {pips} pips: the sample has ask prices only.",
    }


def _process(name: str, now: datetime) -> Json:
    row = ProcessHeartbeat.objects.filter(name=name).first()
    if row is None:
        return {"name": name, "status": "down", "age_s": None, "pid": None, "detail": {}}
    age_s = max(0.0, (now - row.beat_at).total_seconds())
    status = "down" if age_s > DOWN_S else "late" if age_s > LATE_S else "up"
    return {
        "name": name,
        "status": status,
        "age_s": round(age_s, 1),
        "pid": row.pid,
        "detail": {"build": row.build, **row.detail},
    }


def _venue(url: str) -> Json:
    """The local OANDA server knows no database to beat in: it is up while it can be reached."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=1).close()
    except OSError:
        return {"name": "venue", "status": "down", "age_s": None, "pid": None, "detail": {}}
    return {"name": "venue", "status": "up", "age_s": 0.0, "pid": None, "detail": {}}


def _database() -> Json:
    started = time.perf_counter()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return {"status": "down", "kind": connection.vendor, "latency_ms": None}
    return {"status": "up", "kind": connection.vendor, "latency_ms": _elapsed_ms(started)}


def _valkey() -> Json:
    started = time.perf_counter()
    try:
        valkey_client().ping()
    except ValkeyError:
        return {"status": "down", "kind": "valkey", "latency_ms": None}
    return {"status": "up", "kind": "valkey", "latency_ms": _elapsed_ms(started)}


def _elapsed_ms(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
