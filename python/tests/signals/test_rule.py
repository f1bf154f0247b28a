from decimal import Decimal
from typing import Any

import jsonschema
import pytest

from sep_engine import qfh
from sep_engine.errors import RuleError
from sep_engine.signals import DEFAULT_RULE, RULE_SCHEMA, Gate, Rule
from sep_engine.signals.rule import METRICS

DOCUMENT = {
    "encoding": "moves",
    "window": 64,
    "direction": "last_bit_reversal",
    "invert": False,
    "gates": [{"metric": "coherence", "percentile": [80, 100]}],
    "horizon_bars": 4,
    "stop_ticks": 300,
    "target_ticks": None,
    "units": "1000",
}


def with_gate(**gate: Any) -> dict[str, Any]:
    return {"gates": [gate]}


# Each change breaks the document; the path is where the message must begin.
BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"direction": "moon"}, "direction must be one of"),
    ({"encoding": "morse"}, "encoding must be one of"),
    ({"window": 7}, r"window must be a whole number in 8\.\.1024, was 7"),
    ({"window": 64.5}, "window must be a whole number"),
    ({"window": True}, "window must be a whole number"),
    ({"invert": 1}, "invert must be true or false"),
    ({"horizon_bars": 0}, "horizon_bars must be a whole number"),
    ({"stop_ticks": 0}, "stop_ticks must be a whole number"),
    ({"stop_ticks": "300"}, "stop_ticks must be a whole number"),
    ({"target_ticks": -5}, "target_ticks must be a whole number"),
    ({"units": 1000}, "units must be a string"),
    ({"units": "many"}, "units must be a decimal number"),
    ({"size": "1000"}, "size is not known"),
    ({"gates": {"metric": "coherence"}}, "gates must be a list"),
    ({"gates": ["coherence"]}, r"gates\[0\] must be an object"),
    (with_gate(percentile=[0, 5]), r"gates\[0\]\.metric is missing"),
    (with_gate(metric="coherence"), r"gates\[0\] must have either percentile or value"),
    (with_gate(metric="coherence", value=[0, 1], percentile=[0, 5]), r"gates\[0\] must have"),
    (with_gate(metric="luck", value=[0, 1]), r"gates\[0\]\.metric must be one of"),
    (with_gate(metric="flat_ratio", percentile=[0, 5]), r"gates\[0\]\.metric must be one of"),
    (with_gate(metric="lambda_", value=[0, 1]), r"gates\[0\]\.metric must be one of"),
    (with_gate(metric="coherence", percentile=[5]), r"gates\[0\]\.percentile must be \[low, high"),
    (with_gate(metric="coherence", percentile=["a", 5]), r"gates\[0\]\.percentile must hold"),
    (with_gate(metric="coherence", percentile=[80, 101]), r"gates\[0\]\.percentile must lie in"),
    (with_gate(metric="coherence", percentile=[0, 5], x=1), r"gates\[0\]\.x is not known"),
]
# What the schema cannot say.
BEYOND_SCHEMA: list[tuple[dict[str, Any], str]] = [
    ({"units": "0"}, "units must be > 0"),
    (with_gate(metric="coherence", percentile=[90, 80]), r"gates\[0\]\.percentile must be low"),
    (
        {**with_gate(metric="collapse", value=[0, 0]), "window": 31},
        r"gates\[0\]: collapse needs a window of at least 32, was 31",
    ),
    ({"encoding": "strict_up"}, r"gates\[0\]: encoding 'strict_up' has no coin percentile"),
]


def test_the_default_rule_is_last_bit_reversal_at_a_high_coherence() -> None:
    assert Rule.from_json(DOCUMENT) == DEFAULT_RULE
    assert DEFAULT_RULE.gates == (Gate("coherence", "percentile", 80.0, 100.0),)
    assert DEFAULT_RULE.units == Decimal(1000)


def test_a_rule_survives_the_way_through_json() -> None:
    rule = Rule(
        direction="balance",
        horizon_bars=9,
        stop_ticks=50,
        target_ticks=75,
        units=Decimal("0.5"),
        window=100,
        invert=True,
        gates=(Gate("lambda", "value", 0.01, 0.5), Gate("entropy", "percentile", 0.0, 10.0)),
    )
    assert Rule.from_json(rule.to_json()) == rule
    assert rule.to_json()["units"] == "0.5"


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_is_a_gate_by_value_and_by_percentile(metric: str) -> None:
    for of in ("value", "percentile"):
        document = DOCUMENT | with_gate(metric=metric, **{of: [0, 50]})
        if (metric, of) == ("flat_ratio", "percentile"):
            continue  # it is no metric of bits: a coin has none
        rule = Rule.from_json(document)
        assert rule.gates == (Gate(metric, of, 0.0, 50.0),)
        jsonschema.validate(rule.to_json(), RULE_SCHEMA)


def test_the_metrics_of_gates_are_those_that_rolling_gives() -> None:
    assert sorted(Gate(name, "value", 0, 1).column for name in METRICS) == sorted(qfh.METRICS)


def test_a_rule_says_how_many_bits_it_looks_back_on() -> None:
    # Predictions are judged over a window, each from the window before it; lambda is of 20 bits.
    def bits_back(window: int, *metrics: str, direction: str = "last_bit_reversal") -> int:
        gates = tuple(Gate(metric, "value", 0.0, 1.0) for metric in metrics)
        return Rule(direction, 1, None, Decimal(1), window=window, gates=gates).bits_back

    assert bits_back(64) == 64
    assert bits_back(64, "lambda", "path_similarity", "collapse", "flat_ratio") == 64
    assert bits_back(64, "entropy", "confidence_low") == 128
    assert bits_back(12, "entropy") == 12
    assert bits_back(12, "damped_anchored") == bits_back(12, direction="damped") == 20
    assert bits_back(12, "qbsa_error") == 24


def test_a_part_that_is_left_out_has_its_default() -> None:
    short = {"direction": "damped", "horizon_bars": 1, "stop_ticks": 10, "units": "1"}
    rule = Rule.from_json(short)
    assert (rule.encoding, rule.window, rule.invert, rule.gates) == ("moves", 64, False, ())
    assert rule.target_ticks is None


@pytest.mark.parametrize("name", ["direction", "horizon_bars", "stop_ticks", "units"])
def test_a_part_without_default_must_be_there(name: str) -> None:
    document = {key: value for key, value in DOCUMENT.items() if key != name}
    with pytest.raises(RuleError, match=f"^{name} is missing"):
        Rule.from_json(document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, RULE_SCHEMA)


@pytest.mark.parametrize(("change", "message"), BROKEN + BEYOND_SCHEMA)
def test_a_broken_rule_is_refused_by_its_path(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RuleError, match=f"^{message}"):
        Rule.from_json(DOCUMENT | change)


@pytest.mark.parametrize("change", [change for change, _ in BROKEN])
def test_the_schema_refuses_what_the_parser_refuses(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(DOCUMENT | change, RULE_SCHEMA)


def test_the_schema_accepts_the_default_rule_and_is_itself_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(RULE_SCHEMA)
    jsonschema.validate(DEFAULT_RULE.to_json(), RULE_SCHEMA)
    jsonschema.validate(DOCUMENT, RULE_SCHEMA)


def test_a_rule_must_be_an_object() -> None:
    with pytest.raises(RuleError, match="must be an object, was list"):
        Rule.from_json([])  # type: ignore[arg-type]
