"""Measure how soon Ctrl-C ends a rolling call: `python -m python.benchmarks.interrupt`.

Prints for each kind of call the longest of three waits, in milliseconds, from the signal to the
exception; the goal is 200. Each call would take seconds, or minutes. Other programs that keep the
processor busy make the waits longer.
"""

import signal
import threading
import time
from collections.abc import Callable

import numpy as np

from sep_engine import qfh

DELAYS_S = (0.13, 0.29, 0.37)  # after which the signal comes, in the middle of a piece of work


def wait_ms(call: Callable[[], object], delay_s: float) -> float:
    """Raise SIGINT so long after the call began.

    Raises:
        RuntimeError: the call had ended by then.
    """
    raised = 0.0

    def interrupt() -> None:
        nonlocal raised
        raised = time.perf_counter()
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(delay_s, interrupt)
    timer.start()
    try:
        call()
    except KeyboardInterrupt:
        return 1e3 * (time.perf_counter() - raised)
    finally:
        timer.cancel()
        timer.join()
    raise RuntimeError(f"the call ended within {delay_s} s: it needs more to do")


def main() -> None:
    # A shell starts a background job with SIGINT ignored, and Python leaves it so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, 100_000_000, dtype=np.uint8)
    prices = (110_000 + np.cumsum(rng.integers(-2, 3, 50_000_000))) * 1e-5
    gap = np.arange(len(prices)) % 30 == 0
    few = qfh.COUNT_METRICS
    cases: dict[str, Callable[[], object]] = {
        "count metrics, W=64": lambda: qfh.rolling_bits(bits, metrics=few, dtype=np.float32),
        "path, W=1024": lambda: qfh.rolling_bits(bits, window=1024, metrics=["path_similarity"]),
        "scalar, all, W=1024": lambda: qfh.rolling_bits(
            bits, window=1024, metrics="all", backend="scalar", dtype=np.float32
        ),
        "prices, W=64": lambda: qfh.rolling(prices, tick=1e-5, dtype=np.float32),
        "prices with gaps, all, W=256": lambda: qfh.rolling(
            prices, tick=1e-5, gap=gap, window=256, metrics="all", dtype=np.float32
        ),
    }
    for name, call in cases.items():
        longest = max(wait_ms(call, delay_s) for delay_s in DELAYS_S)
        print(f"{name:30} {longest:4.0f} ms", flush=True)


if __name__ == "__main__":
    main()
