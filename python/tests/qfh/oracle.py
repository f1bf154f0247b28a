"""The metrics once more, slowly, from the definitions in docs/reference/qfh.md.

One window at a time, counts by comparing neighbours, logarithms and exponentials by NumPy. It
shares no code with the engine.
"""

import numpy as np
from numpy.typing import NDArray

METRICS = (
    "null_ratio",
    "flip_ratio",
    "rupture_ratio",
    "entropy",
    "coherence",
    "state_coherence",
    "stability",
    "lambda_",
    "balance",
    "damped",
    "damped_anchored",
)


def moves(prices: NDArray[np.float64], tick: float) -> tuple[list[int], list[int]]:
    """Return bits and the price that gave each."""
    ticks = [round(price / tick) for price in prices]
    bits, index = [], []
    for k in range(1, len(ticks)):
        if ticks[k] != ticks[k - 1]:
            bits.append(int(ticks[k] > ticks[k - 1]))
            index.append(k)
    return bits, index


def entropy_bits(*counts: int) -> float:
    total = sum(counts)
    shares = [count / total for count in counts if count]
    return float(-sum(share * np.log2(share) for share in shares)) if total else 0.0


def coherence(n00: int, n01: int, n10: int, n11: int) -> float:
    total = n00 + n01 + n10 + n11
    after_0, after_1 = entropy_bits(n00, n01), entropy_bits(n10, n11)
    h = ((n00 + n01) * after_0 + (n10 + n11) * after_1) / total
    return 1.0 - min(max(h, 0.0), 1.0)


def pair_counts(bits: list[int], joined: list[bool]) -> tuple[int, int, int, int]:
    counts = {(0, 0): 0, (0, 1): 0, (1, 0): 0, (1, 1): 0}
    for before, now, valid in zip(bits, bits[1:], joined[1:], strict=False):
        if valid:
            counts[before, now] += 1
    return counts[0, 0], counts[0, 1], counts[1, 0], counts[1, 1]


def window_metrics(bits: list[int], joined: list[bool], window: int) -> dict[str, float]:
    """Return the metrics of the newest `window` of all bits so far."""
    result = dict.fromkeys(METRICS, float("nan"))
    if len(bits) < window:
        return result
    inside, valid = bits[-window:], joined[-window:]
    n00, n01, n10, n11 = pair_counts(inside, valid)
    flips, total = n01 + n10, n00 + n01 + n10 + n11
    if total >= 0.75 * (window - 1):
        entropy = entropy_bits(n00, flips, n11) / np.log2(3)
        result |= {
            "null_ratio": n00 / total,
            "flip_ratio": flips / total,
            "rupture_ratio": n11 / total,
            "entropy": entropy,
            "coherence": coherence(n00, n01, n10, n11),
            "state_coherence": 1 - entropy,
            "stability": 1 - flips / total,
            "balance": (n11 - n00) / total,
        }
    if len(bits) < 20 or not all(joined[-19:]):
        return result
    m00, m01, m10, m11 = pair_counts(bits[-20:], joined[-20:])
    entropy_20 = entropy_bits(m00, m01 + m10, m11) / np.log2(3)
    lambda_ = 0.30 * entropy_20 + 0.20 * (1 - coherence(m00, m01, m10, m11))
    lambda_ = min(max(lambda_, 0.01), 1.0)
    result["lambda_"] = lambda_
    if all(valid[1:]):
        k = np.arange(window)
        weights = np.where(lambda_ * k > 40, 0.0, np.exp(-lambda_ * k))
        newest_first = np.array(inside[::-1], dtype=np.float64)
        result["damped"] = float(np.sum((2 * newest_first - 1) * weights))
        result["damped_anchored"] = float(np.sum((newest_first - newest_first[0]) * weights))
    return result


def path_metrics(bits: list[int], window: int, lambda_: float) -> tuple[float, float]:
    """Return path_confidence and path_similarity of the newest `window` bits."""
    k = np.arange(window)
    signs = 2.0 * np.array(bits[-window:][::-1]) - 1
    sums = np.cumsum(np.where(lambda_ * k > 40, 0.0, signs * np.exp(-lambda_ * k)))[1:]
    centred = sums - sums.mean()
    steps = np.arange(window - 1)
    best = 0.0
    for template in (np.exp(-0.1 * steps), steps, np.sin(2 * np.pi * steps / (window - 1))):
        other = template - np.mean(template)
        norms = np.linalg.norm(centred) * np.linalg.norm(other)
        best = max(best, abs(float(centred @ other / norms))) if norms else best
    return 1 / (1 + float(np.var(sums))), best


def prediction_errors(bits: list[int], window: int, predictor: str) -> list[bool | None]:
    """Return for each bit whether the predictor got it wrong; None before `window` bits."""
    errors: list[bool | None] = [None] * len(bits)
    for t in range(window, len(bits)):
        before = bits[t - window : t]
        last = before[-1]
        if predictor == "markov":
            n00, n01, n10, n11 = pair_counts(before, [True] * window)
            up, down = (n11, n10) if last else (n01, n00)
        elif predictor == "majority8":
            up, down = sum(before[-8:]), 8 - sum(before[-8:])
        else:
            up, down = last, 1 - last
        guess = last if up == down else int(up > down)
        errors[t] = guess != bits[t]
    return errors


def collapse(bits: list[int], joined: list[bool], window: int, share: float) -> float:
    pairs = [
        (before, now)
        for before, now, valid in zip(
            bits[-window:], bits[-window + 1 :], joined[-window + 1 :], strict=False
        )
        if valid
    ]
    quarter = len(pairs) // 4
    rest, newest = pairs[:-quarter], pairs[-quarter:]

    def one_sided(part: list[tuple[int, int]]) -> bool:
        return max(part.count((0, 0)), part.count((1, 1))) / len(part) >= share

    return float(one_sided(newest) and not one_sided(rest))
