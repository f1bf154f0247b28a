"""Results as one self-contained HTML page: no other file, no network."""

from sep_engine.report.backtest import Provenance, backtest_document, backtest_page
from sep_engine.report.sweep import sweep_page
from sep_engine.report.trades import trades_page
from sep_engine.report.verdict import verdict_page

__all__ = [
    "Provenance",
    "backtest_document",
    "backtest_page",
    "sweep_page",
    "trades_page",
    "verdict_page",
]
