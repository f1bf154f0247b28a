"""Fault schedules over the adapter and the local OANDA server's logic find nothing wrong."""

from collections import Counter

import pytest

from sep_engine.execution.core import Cancelled, Expired, Filled, Rejected, Replaced
from tests.chaos.oanda import OandaSchedule, run_oanda_schedule
from tests.chaos.schedules import Mistake

SCHEDULES = 60


def test_o6_o10_o12_o13_o18_o19_o29_c8_no_schedule_loses_or_doubles_an_order() -> None:
    kinds: Counter[type] = Counter()
    unknown = absent = deaths = 0
    for seed in range(SCHEDULES):
        schedule = OandaSchedule(seed)
        assert schedule.run() == [], f"seed {seed}"
        kinds.update(type(told.fact) for told in schedule.venue.ledger)
        states = [state for _, state in schedule.tables.log]
        unknown += states.count("UNKNOWN")
        absent += states.count("EXPIRED_UNSENT")
        deaths += schedule.deaths
    # The venue did all that a venue does, and the faults did bite.
    assert min(kinds[Filled], kinds[Cancelled], kinds[Rejected], kinds[Expired]) >= 20, kinds
    assert kinds[Replaced] >= 10, kinds
    assert min(unknown, absent, deaths) >= 50, (unknown, absent, deaths)


def test_the_same_seed_gives_the_same_trace() -> None:
    assert run_oanda_schedule(7)[1] == run_oanda_schedule(7)[1]
    assert run_oanda_schedule(7)[1] != run_oanda_schedule(8)[1]


@pytest.mark.parametrize("mistake", [one for one in Mistake if one is not Mistake.NONE])
def test_the_checker_finds_a_mistake_at_this_venue_too(mistake: Mistake) -> None:
    assert any(run_oanda_schedule(seed, mistake)[0] for seed in range(SCHEDULES)), mistake
