"""The circuit breaker on a clock of the test's own, and in front of the local OANDA server."""

# ruff: noqa: F811 - fixtures of the venue come by their names

from dataclasses import replace
from decimal import Decimal

import pytest

from sep_engine.execution.states import OrderType
from webapp.tests.test_oanda_broker import BUY, Venue, broker_at, process, venue  # noqa: F401
from webapp.trading.brokers import breaker as breaker_module
from webapp.trading.brokers.base import BrokerError, BrokerUnsent
from webapp.trading.brokers.breaker import FAILURES, Breaker


def failing(breaker: Breaker, count: int, now: float = 0.0) -> None:
    for _ in range(count):
        assert breaker.wait_s(now, protective=False) == 0
        breaker.ended(now, failed=True, took_s=0.1)


def test_o25_it_opens_after_failures_in_a_row_and_a_good_answer_forgets_them() -> None:
    breaker = Breaker()
    failing(breaker, FAILURES - 1)
    breaker.ended(0, failed=False, took_s=0.1)
    failing(breaker, FAILURES)
    assert breaker.wait_s(0.0, protective=False) == 1.0
    assert breaker.wait_s(0.75, protective=False) == 0.25


def test_c21_slow_answers_count_as_failures() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.ended(0, failed=False, took_s=3.0)
    assert breaker.wait_s(0.0, protective=False) == 1.0


def test_o25_one_probe_goes_and_a_failed_one_doubles_the_pause() -> None:
    breaker = Breaker()
    failing(breaker, FAILURES)
    assert breaker.wait_s(1.0, protective=False) == 0  # the probe
    assert breaker.wait_s(1.0, protective=False) > 0  # and nobody beside it
    breaker.ended(1.0, failed=True, took_s=0.1)
    assert breaker.wait_s(1.0, protective=False) == 2.0
    assert breaker.wait_s(3.0, protective=False) == 0
    breaker.ended(3.0, failed=False, took_s=0.1)
    assert [breaker.wait_s(3.0, protective=False) for _ in range(3)] == [0, 0, 0]


def test_o25_the_pause_is_bounded() -> None:
    breaker, now = Breaker(), 0.0
    failing(breaker, FAILURES)
    for _ in range(20):
        now += breaker.wait_s(now, protective=False)
        assert breaker.wait_s(now, protective=False) == 0
        breaker.ended(now, failed=True, took_s=0.1)
    assert breaker.wait_s(now, protective=False) == 30.0


def test_o25_what_protects_always_goes_but_never_as_a_storm() -> None:
    breaker = Breaker()
    failing(breaker, FAILURES)
    assert breaker.wait_s(0.0, protective=True) == 0
    assert breaker.wait_s(0.0, protective=True) == 0.5
    assert breaker.wait_s(0.5, protective=True) == 0
    # In 10 s of an outage two a second, however often they are asked for.
    sent = sum(breaker.wait_s(1 + tenth / 10, protective=True) == 0 for tenth in range(100))
    assert sent == 20


async def test_o25_after_an_outage_entries_wait_and_exits_go(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for the slowest machine: the pause is not what is under test.
    monkeypatch.setattr(breaker_module, "PAUSE_S", 30.0)
    adapter = broker_at(venue)
    try:
        buy = replace(BUY, client_id=venue.name())
        await adapter.submit(buy)  # reads the instruments, too
        venue.fault(method="POST", path="/orders$", status=503, times=FAILURES)
        for _ in range(FAILURES):
            with pytest.raises(BrokerError):
                await adapter.submit(replace(BUY, client_id=venue.name()))
        before = venue.last_id
        with pytest.raises(BrokerUnsent, match="link is resting after 5 failures of POST orders"):
            await adapter.submit(replace(BUY, client_id=venue.name()))
        assert venue.last_id == before
        out = replace(
            BUY, client_id=venue.name(), type=OrderType.MARKET, units=Decimal(-1000),
            reduce_only=True,
        )  # fmt: skip
        assert await adapter.submit(out)
        assert (await adapter.account()).positions == {}
    finally:
        await adapter.close()
