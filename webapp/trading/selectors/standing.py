"""What is known about a strategy's worth: its newest verdict, while it trades as it was judged."""

from dataclasses import dataclass

from sep_engine.ledger import sha256_of
from webapp.trading.models import Run, Strategy


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known about a strategy's worth.

    Attributes:
        code: "unproven", "no edge" or "passed".
        text: one line that names the run.
        run: address of the run, "" for none.
    """

    code: str
    text: str
    run: str = ""


def strategy_sha256(strategy: Strategy) -> str:
    """Return the hash of what a strategy trades by: another one needs another verdict."""
    traded_by = [strategy.rule, strategy.instrument_id, strategy.granularity]
    return sha256_of([*traded_by, strategy.session] if strategy.session else traded_by)


def strategy_standing(strategy: Strategy) -> Standing:
    """Return what the newest verdict on the strategy, as it is now, says."""
    run = newest_verdict(strategy)
    if run is None:
        return Standing("unproven", Strategy.VERDICT_TEXT)
    if run.edge:
        return Standing("passed", f"Passed: {run.result_text} (run {run.pk[:12]})", run.pk)
    return Standing("no edge", f"No evidence of edge (run {run.pk[:12]}).", run.pk)


def newest_verdict(strategy: Strategy) -> Run | None:
    """Return the run with the newest verdict on the strategy as it is now, None without one."""
    found = Run.objects.filter(
        strategy=strategy,
        strategy_sha256=strategy_sha256(strategy),
        kind=Run.Kind.EVIDENCE,
        state=Run.State.DONE,
        edge__isnull=False,
    )
    if strategy.changed_at is not None:
        # Asked for after the change, too: what was asked before it judged something else.
        found = found.filter(created_at__gt=strategy.changed_at)
    return found.order_by("-finished_at").first()
