"""Fault schedules find nothing in the order core, and find what they are made to find."""

import pytest

from tests.chaos.schedules import Mistake, Schedule, run_schedule

SCHEDULES = 300


def test_o6_o10_o12_o13_o18_o19_o29_c8_three_hundred_schedules_lose_and_double_nothing() -> None:
    failed = {seed: faults for seed in range(SCHEDULES) if (faults := run_schedule(seed)[0])}
    assert failed == {}


def test_the_same_seed_gives_the_same_trace() -> None:
    assert run_schedule(7)[1] == run_schedule(7)[1]
    assert run_schedule(7)[1] != run_schedule(8)[1]


def test_the_schedules_meet_every_kind_of_fault() -> None:
    deaths = unknown = absent = late = replaced = failed_commits = lost_locks = 0
    hedging = stopped = closed = both = misrouted = 0
    for seed in range(100):
        schedule = Schedule(seed)
        schedule.run()
        states = [state for _, state in schedule.tables.log]
        deaths += schedule.deaths
        unknown += states.count("UNKNOWN")
        absent += states.count("EXPIRED_UNSENT")
        late += states.count("CHANGE_UNKNOWN")
        replaced += states.count("REPLACED")
        failed_commits += schedule.failed_commits
        lost_locks += schedule.lost_locks
        hedging += schedule.hedging
        stopped += schedule.stopped
        misrouted += schedule.misrouted
        orders, wishes = schedule.tables.orders, schedule.wishes
        closed += sum(
            bool(wishes[name].closes) and order.state == "FILLED" for name, order in orders.items()
        )
        both += len(schedule.venue.sides) == 2
    # Far more than a handful of each in a hundred schedules, or the faults do not bite.
    counts = (deaths, unknown, absent, late, replaced, failed_commits, lost_locks)
    assert min(counts) >= 15, counts
    # A quarter of the accounts hedge, and end long and short at once.
    counts = (hedging, stopped, closed, misrouted)
    assert min(counts) >= 15, counts
    assert both >= 5, both


@pytest.mark.parametrize("mistake", [one for one in Mistake if one is not Mistake.NONE])
def test_the_checker_finds_each_mistake(mistake: Mistake) -> None:
    assert any(run_schedule(seed, mistake)[0] for seed in range(SCHEDULES)), mistake
