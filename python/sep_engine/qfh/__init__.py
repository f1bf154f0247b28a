"""Symbolic dynamics of price direction: bits, window metrics, their coin percentiles, streams."""

from sep_engine._core import DeviceArray, Stream, StreamMetrics
from sep_engine.qfh import legacy
from sep_engine.qfh.bank import StreamBank
from sep_engine.qfh.bits import ENCODINGS, Encoded, Encoding, encode, infer_tick, pack, unpack
from sep_engine.qfh.calibration import (
    CALIBRATED_METRICS,
    COUNT_METRICS,
    EXACT_METRICS,
    SIMULATED_METRICS,
    SimulatedDistribution,
    coin_distribution,
    simulated_distribution,
)
from sep_engine.qfh.device import DeviceRollingMetrics, rolling_bits_device, rolling_device
from sep_engine.qfh.rolling import (
    CHEAP_METRICS,
    METRICS,
    BackendName,
    Predictor,
    RollingMetrics,
    rolling,
    rolling_bits,
    rolling_chunks,
    rolling_many,
)

__all__ = [
    "CALIBRATED_METRICS",
    "CHEAP_METRICS",
    "COUNT_METRICS",
    "ENCODINGS",
    "EXACT_METRICS",
    "METRICS",
    "SIMULATED_METRICS",
    "BackendName",
    "DeviceArray",
    "DeviceRollingMetrics",
    "Encoded",
    "Encoding",
    "Predictor",
    "RollingMetrics",
    "SimulatedDistribution",
    "Stream",
    "StreamBank",
    "StreamMetrics",
    "coin_distribution",
    "encode",
    "infer_tick",
    "legacy",
    "pack",
    "rolling",
    "rolling_bits",
    "rolling_bits_device",
    "rolling_chunks",
    "rolling_device",
    "rolling_many",
    "simulated_distribution",
    "unpack",
]
