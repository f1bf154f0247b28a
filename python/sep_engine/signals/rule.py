"""A trading rule as a value: a direction estimator, gates, an exit and a size.

The JSON form, of which `RULE_SCHEMA` is the JSON Schema (2020-12):

    {"encoding": "moves", "window": 64, "direction": "last_bit_reversal", "invert": false,
     "gates": [{"metric": "coherence", "percentile": [80, 100]}],
     "horizon_bars": 4, "stop_ticks": 300, "target_ticks": null, "units": "1000"}

Directions (each says buy or sell; `invert` turns it round):
    last_bit_reversal: against the newest bit.
    last_bit_momentum: with the newest bit.
    run_persistence: with the current run of equal bits, once it has two bits.
    balance: the sign of the metric `balance`.
    damped: the sign of the metric `damped`.

A gate lets a decision pass when its metric lies in a closed range, of coin percentiles (with the
encoding `moves` only; `flat_ratio` has none) or of raw values. A metric that is not known, because
the window is not full or has a gap in it, passes no gate. All gates must pass. Predictions are
those of the predictor `markov`, and `collapse` (0 or 1) is that of a share of 0.6.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, get_args

from sep_engine.errors import RuleError
from sep_engine.qfh import CALIBRATED_METRICS, ENCODINGS, Encoding

DIRECTIONS: Final = (
    "last_bit_reversal",
    "last_bit_momentum",
    "run_persistence",
    "balance",
    "damped",
)
# `lambda` is a keyword of Python, so arrays and streams call it `lambda_`.
PERCENTILE_METRICS: Final = tuple(name.rstrip("_") for name in CALIBRATED_METRICS)
METRICS: Final = (*PERCENTILE_METRICS, "flat_ratio")
# Judged over a window, each prediction from the window before it.
PREDICTION_METRICS: Final = ("qbsa_error", "confidence", "confidence_low")
# Lambda is a figure of the newest bits, and these are sums that it weights.
_OF_LAMBDA: Final = ("lambda", "damped", "damped_anchored", "path_confidence", "path_similarity")
LAMBDA_BITS = 20

WINDOW_MIN, WINDOW_MAX = 8, 1024
COLLAPSE_WINDOW_MIN = 32
HORIZON_BARS_MAX = 10_000
DISTANCE_TICKS_MAX = 1_000_000
GATES_MAX = 16

_RANGE_SCHEMA: Final = {
    "type": "array",
    "prefixItems": [{"type": "number"}, {"type": "number"}],
    "items": False,
    "minItems": 2,
}
_DISTANCE_SCHEMA: Final = {
    "type": ["integer", "null"],
    "minimum": 1,
    "maximum": DISTANCE_TICKS_MAX,
}
RULE_SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "SEP rule",
    "type": "object",
    "additionalProperties": False,
    "required": ["direction", "horizon_bars", "stop_ticks", "units"],
    "properties": {
        "encoding": {"enum": list(ENCODINGS), "default": "moves"},
        "window": {
            "type": "integer",
            "minimum": WINDOW_MIN,
            "maximum": WINDOW_MAX,
            "default": 64,
            "description": "bits that the metrics look back on",
        },
        "direction": {"enum": list(DIRECTIONS)},
        "invert": {"type": "boolean", "default": False},
        "gates": {
            "type": "array",
            "maxItems": GATES_MAX,
            "default": [],
            "items": {
                "oneOf": [
                    {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["metric", "percentile"],
                        "properties": {
                            "metric": {"enum": list(PERCENTILE_METRICS)},
                            "percentile": {
                                **_RANGE_SCHEMA,
                                "prefixItems": [
                                    {"type": "number", "minimum": 0, "maximum": 100},
                                    {"type": "number", "minimum": 0, "maximum": 100},
                                ],
                            },
                        },
                    },
                    {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["metric", "value"],
                        "properties": {"metric": {"enum": list(METRICS)}, "value": _RANGE_SCHEMA},
                    },
                ]
            },
        },
        "horizon_bars": {
            "type": "integer",
            "minimum": 1,
            "maximum": HORIZON_BARS_MAX,
            "description": "a position is closed at the open of the bar this many after its entry",
        },
        "stop_ticks": {
            **_DISTANCE_SCHEMA,
            "description": "distance of the protective stop from the entry price; null is research "
            "only: nothing is traded without a stop",
        },
        "target_ticks": {**_DISTANCE_SCHEMA, "default": None},
        "units": {
            "type": "string",
            "pattern": r"^[0-9]+(\.[0-9]+)?$",
            "description": "size of a position in units of the base currency, > 0",
        },
    },
}


@dataclass(frozen=True, slots=True)
class Gate:
    """A closed range that a metric must lie in.

    Attributes:
        metric: one of METRICS; of PERCENTILE_METRICS when `of` is "percentile".
        of: "percentile" (of a fair coin, 0..100) or "value" (raw).
        low, high: the range, low <= high, finite.
    """

    metric: str
    of: str
    low: float
    high: float

    @property
    def column(self) -> str:
        """The metric's name in arrays and streams."""
        return "lambda_" if self.metric == "lambda" else self.metric

    def passes(self, value: float) -> bool:
        """Return whether `value` lies in the range; NaN does not."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Rule:
    """What to do at each bar; see the module for the meaning of each part.

    Attributes:
        direction: one of DIRECTIONS; turned round if `invert`.
        horizon_bars: bars that a position is held at the most, 1..HORIZON_BARS_MAX.
        encoding: of closes to bits (`encode`).
        window: bits that the metrics look back on, WINDOW_MIN..WINDOW_MAX.
        gates: all of them must pass, at most GATES_MAX.
        units: size in units of base, > 0; the direction gives the sign.
        stop_ticks, target_ticks: distances from the entry price in ticks of the price series.
            None is no stop, or no target. Nothing may be traded without a stop.
    """

    direction: str
    horizon_bars: int
    stop_ticks: int | None
    units: Decimal
    encoding: Encoding = "moves"
    window: int = 64
    invert: bool = False
    gates: tuple[Gate, ...] = ()
    target_ticks: int | None = None

    def __post_init__(self) -> None:
        _check_one_of("direction", self.direction, DIRECTIONS)
        _check_one_of("encoding", self.encoding, get_args(Encoding))
        check_whole("window", self.window, WINDOW_MIN, WINDOW_MAX)
        check_exit(self.horizon_bars, self.stop_ticks, self.target_ticks)
        if not isinstance(self.invert, bool):
            raise RuleError(f"invert must be true or false, was {self.invert!r}")
        check_units(self.units)
        if len(self.gates) > GATES_MAX:
            raise RuleError(f"gates must be at most {GATES_MAX}, were {len(self.gates)}")
        for place, gate in enumerate(self.gates):
            path = f"gates[{place}]"
            _check_one_of(
                f"{path}.metric",
                gate.metric,
                PERCENTILE_METRICS if gate.of == "percentile" else METRICS,
            )
            if gate.metric == "collapse" and self.window < COLLAPSE_WINDOW_MIN:
                raise RuleError(
                    f"{path}: collapse needs a window of at least {COLLAPSE_WINDOW_MIN}, "
                    f"was {self.window}"
                )
            if gate.of == "percentile":
                if self.encoding != "moves":
                    raise RuleError(
                        f"{path}: encoding {self.encoding!r} has no coin percentile; "
                        "gate on a value or use the encoding 'moves'"
                    )
                if not (gate.low >= 0 and gate.high <= 100):
                    raise RuleError(
                        f"{path}.percentile must lie in 0..100, was {gate.low:g}..{gate.high:g}"
                    )
            if not (math.isfinite(gate.low) and math.isfinite(gate.high) and gate.low <= gate.high):
                raise RuleError(
                    f"{path}.{gate.of} must be low..high with low <= high, "
                    f"was {gate.low:g}..{gate.high:g}"
                )

    @property
    def columns(self) -> tuple[str, ...]:
        """The metrics that decide, by their names in arrays and streams, each once."""
        by_direction = [self.direction] if self.direction in ("balance", "damped") else []
        return tuple(dict.fromkeys([*by_direction, *(gate.column for gate in self.gates)]))

    @property
    def bits_back(self) -> int:
        """How many bits a decision looks back on at most."""
        metrics = (self.direction, *(gate.metric for gate in self.gates))
        return max(self.bits_needed(metric) for metric in metrics)

    def bits_needed(self, metric: str) -> int:
        """Return the newest bits that a metric depends on; before there are so many it is NaN."""
        if metric in PREDICTION_METRICS:
            return 2 * self.window
        return max(self.window, LAMBDA_BITS) if metric in _OF_LAMBDA else self.window

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Rule":
        """Return the rule that a decoded JSON object, `document`, describes.

        Raises:
            RuleError: a part is missing, unknown, of the wrong type or out of range; the message
                begins with its path, e.g. `gates[0].percentile`.
        """
        if not isinstance(document, Mapping):
            raise RuleError(f"a rule must be an object, was {type(document).__name__}")
        _check_keys("", document, RULE_SCHEMA["properties"], RULE_SCHEMA["required"])
        values = dict(document)
        values["units"] = units_of(values["units"])
        gates = values.get("gates", ())
        if isinstance(gates, str) or not isinstance(gates, list | tuple):
            raise RuleError(f"gates must be a list, was {gates!r}")
        values["gates"] = tuple(_gate(place, gate) for place, gate in enumerate(gates))
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, with every default written out."""
        return {
            "encoding": self.encoding,
            "window": self.window,
            "direction": self.direction,
            "invert": self.invert,
            "gates": [
                {"metric": gate.metric, gate.of: [gate.low, gate.high]} for gate in self.gates
            ],
            "horizon_bars": self.horizon_bars,
            "stop_ticks": self.stop_ticks,
            "target_ticks": self.target_ticks,
            "units": format(self.units, "f"),
        }


def _gate(place: int, document: object) -> Gate:
    path = f"gates[{place}]"
    if not isinstance(document, Mapping):
        raise RuleError(f"{path} must be an object, was {document!r}")
    _check_keys(f"{path}.", document, ("metric", "percentile", "value"), ("metric",))
    if ("percentile" in document) == ("value" in document):
        raise RuleError(f"{path} must have either percentile or value")
    of = "percentile" if "percentile" in document else "value"
    limits = document[of]
    if not isinstance(limits, list | tuple) or len(limits) != 2:
        raise RuleError(f"{path}.{of} must be [low, high], was {limits!r}")
    for limit in limits:
        if isinstance(limit, bool) or not isinstance(limit, int | float):
            raise RuleError(f"{path}.{of} must hold numbers, was {limits!r}")
    return Gate(document["metric"], of, float(limits[0]), float(limits[1]))


def _check_keys(path: str, document: Mapping[str, Any], known: Any, required: Any) -> None:
    for name in document:
        if name not in known:
            raise RuleError(f"{path}{name} is not known; known are {', '.join(known)}")
    for name in required:
        if name not in document:
            raise RuleError(f"{path}{name} is missing")


def _check_one_of(path: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise RuleError(f"{path} must be one of {', '.join(known)}; was {value!r}")


def check_whole(path: str, value: object, low: int, high: int) -> None:
    """Raise RuleError unless `value` is a whole number in low..high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise RuleError(f"{path} must be a whole number in {low}..{high}, was {value!r}")


def check_exit(horizon_bars: object, stop_ticks: object, target_ticks: object) -> None:
    """Raise RuleError unless a rule, or a class, may leave its positions so."""
    check_whole("horizon_bars", horizon_bars, 1, HORIZON_BARS_MAX)
    for name, distance in (("stop_ticks", stop_ticks), ("target_ticks", target_ticks)):
        if distance is not None:
            check_whole(name, distance, 1, DISTANCE_TICKS_MAX)


def check_units(units: Decimal) -> None:
    """Raise RuleError unless a position may have this size."""
    if not units.is_finite() or units <= 0:
        raise RuleError(f"units must be > 0, was {units}")


def units_of(text: object) -> Decimal:
    """Return the size of a position that a text says; RuleError unless it is a decimal > 0."""
    if not isinstance(text, str):
        raise RuleError(f"units must be a string such as '1000', was {text!r}")
    try:
        units = Decimal(text)
    except InvalidOperation:
        raise RuleError(f"units must be a decimal number, was {text!r}") from None
    check_units(units)
    return units


DEFAULT_RULE: Final = Rule(
    direction="last_bit_reversal",
    gates=(Gate("coherence", "percentile", 80.0, 100.0),),
    horizon_bars=4,
    stop_ticks=300,
    units=Decimal(1000),
)
