"""Trading rules over the metrics, and the decisions that they make bar by bar."""

from sep_engine.signals.evaluator import Decision, RuleEvaluator, directions
from sep_engine.signals.rule import DEFAULT_RULE, RULE_SCHEMA, Gate, Rule

__all__ = [
    "DEFAULT_RULE",
    "RULE_SCHEMA",
    "Decision",
    "Gate",
    "Rule",
    "RuleEvaluator",
    "directions",
]
