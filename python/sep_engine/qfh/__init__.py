"""Symbolic dynamics of price direction: bits, window metrics, their coin percentiles, streams."""

from sep_engine._core import Stream, StreamMetrics
from sep_engine.qfh import legacy
from sep_engine.qfh.bits import ENCODINGS, Encoded, Encoding, encode, infer_tick, pack, unpack
from sep_engine.qfh.calibration import COUNT_METRICS, coin_distribution
from sep_engine.qfh.rolling import BackendName, RollingMetrics, rolling, rolling_bits

__all__ = [
    "COUNT_METRICS",
    "ENCODINGS",
    "BackendName",
    "Encoded",
    "Encoding",
    "RollingMetrics",
    "Stream",
    "StreamMetrics",
    "coin_distribution",
    "encode",
    "infer_tick",
    "legacy",
    "pack",
    "rolling",
    "rolling_bits",
    "unpack",
]
