"""What is known about a strategy's worth: its newest verdict, while it trades as it was judged."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sep_engine.ledger import sha256_of
from webapp.trading.models import Feed, Run, Strategy

# Figures of a verdict: how often the calls of what it judged hit where they were not chosen on.
OUT_OF_SAMPLE = {
    "hit rate out of sample": "estimate",
    "hit rate out of sample, low end of 95 %": "low",
    "hit rate out of sample, high end of 95 %": "high",
}


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
    code, text = "no edge", "No evidence of edge"
    if run.edge:
        code, text = "passed", f"Passed: {run.result_text}"
    return Standing(code, f"{text} (run {run.pk[:12]}).{_hit_rate(run)}", run.pk)


def _hit_rate(run: Run) -> str:
    """Return the out-of-sample hit rate of what a run judged with its interval, "" for none."""
    found = {one["name"]: one["value"] for one in run.summary.get("figures", ())}
    shares = [share for name in OUT_OF_SAMPLE if (share := found.get(name)) is not None]
    if len(shares) < len(OUT_OF_SAMPLE):
        return ""
    rate, low, high = (f"{100 * share:.1f}" for share in shares)
    return f" Out of sample {rate} % [{low}, {high}] of its calls hit."


def newest_verdict(strategy: Strategy) -> Run | None:
    """Return the run with the newest verdict on the strategy as it is now, None without one.

    A verdict that was passed at other costs than are taken now is none; nor does an older one
    stand in for it.
    """
    run = last_judged(strategy)
    if run is None or not run.edge:
        return run
    spread = assumed_spread(strategy.instrument_id, strategy.granularity)
    judged_now = run_address(
        kind=run.kind,
        data_sha256=run.data_sha256,
        price_side=run.data.get("price_side"),
        code_version=run.code_version,
        configuration=run.configuration,
        spread_pips=spread,
        seed=run.seed,
        strategy=strategy,
    )
    return run if run.pk == judged_now else None


def last_judged(strategy: Strategy) -> Run | None:
    """Return the run that judged the strategy last since its last change, whatever it cost then."""
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


def run_address(
    *,
    kind: str,
    data_sha256: str,
    price_side: str | None,
    code_version: str,
    configuration: Mapping[str, Any],
    spread_pips: Decimal | None,
    seed: int,
    strategy: Strategy | None,
) -> str:
    """Return the address of a run: the hash of everything that decides its outcome.

    spread_pips: what its bars are taken to cost where nothing else is asked for.
    """
    return sha256_of(
        {
            "kind": kind,
            "data": data_sha256,
            "price_side": price_side,
            "code": code_version,
            "configuration": dict(configuration),
            # Bars without a spread of their own are given one by where they are from.
            "assumed_spread_pips": str(spread_pips),
            "seed": seed,
            "strategy": None if strategy is None else [strategy.pk, strategy_sha256(strategy)],
        }
    )


def assumed_spread(instrument_id: int, granularity: str) -> Decimal | None:
    """Return what stored candles are taken to cost, in pips; None: nobody knows."""
    feed = Feed.objects.filter(instrument_id=instrument_id, granularity=granularity).first()
    return None if feed is None or not feed.assumed_spread_pips else feed.assumed_spread_pips
