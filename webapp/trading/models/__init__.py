"""The record: what was wanted, sent, filled and decided, with its rules held by the database.

Amounts are exact decimals (`AmountField`), units are signed (+ buy, - sell), times are aware UTC.
`time` on a row is market time (in a replay the time of the bar), `created_at` is wall-clock time.
"""

from webapp.trading.models.accounts import (
    BrokerAccount,
    BrokerToken,
    LeaseRow,
    LiveArming,
    SecondFactor,
)
from webapp.trading.models.books import (
    AccountTotals,
    Charge,
    PerformanceSnapshot,
    Position,
    Reconciliation,
    Trade,
    position_key,
)
from webapp.trading.models.control import (
    Blackout,
    Closing,
    ConfigChange,
    ConfigEntry,
    RiskLimit,
    TradingState,
)
from webapp.trading.models.events import EventLog, ProcessHeartbeat, StreamHead
from webapp.trading.models.market import Candle, Feed, Instrument
from webapp.trading.models.orders import BrokerFact, Fill, Order, Signal, Strategy
from webapp.trading.models.research import (
    AnalysisJob,
    LiveOverride,
    Run,
    RunRequest,
    RunResult,
    RunShard,
    Trial,
)

__all__ = [
    "AccountTotals",
    "AnalysisJob",
    "Blackout",
    "BrokerAccount",
    "BrokerFact",
    "BrokerToken",
    "Candle",
    "Charge",
    "Closing",
    "ConfigChange",
    "ConfigEntry",
    "EventLog",
    "Feed",
    "Fill",
    "Instrument",
    "LeaseRow",
    "LiveArming",
    "LiveOverride",
    "Order",
    "PerformanceSnapshot",
    "Position",
    "ProcessHeartbeat",
    "Reconciliation",
    "RiskLimit",
    "Run",
    "RunRequest",
    "RunResult",
    "RunShard",
    "SecondFactor",
    "Signal",
    "Strategy",
    "StreamHead",
    "Trade",
    "TradingState",
    "Trial",
    "position_key",
]
