"""The page in a real browser on the real stack: log in, watch it trade, lose the network."""

from itertools import pairwise

import pytest

from tests.browser.visits import Seen, visit
from tests.stack import Stack

pytestmark = pytest.mark.browser

VISIT_TIMEOUT_S = 600
STREAMS_WITHOUT_GAPS = ("signals", "orders", "positions", "performance", "runs", "system", "alerts")


@pytest.fixture(scope="module")
def seen(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What one visit saw."""
    return visit("visit.mjs", stack, tmp_path_factory.mktemp("screens"), timeout_s=VISIT_TIMEOUT_S)


def test_a_stranger_is_asked_to_log_in(seen: Seen) -> None:
    assert seen["asked_to_log_in"] is True
    assert "correct username and password" in seen["wrong_password"]


def test_bars_arrive_by_themselves(seen: Seen) -> None:
    assert seen["candles_follow"] >= 2


def test_the_tab_key_comes_to_the_ticket_before_the_many_rows_of_activity(seen: Seen) -> None:
    assert seen["ticket_is_before_activity"] is True


def test_the_first_signal_and_fill_come_within_a_minute(seen: Seen) -> None:
    assert seen["first_signal_s"] < 60
    assert seen["first_fill_s"] < 60


def test_equity_changes_as_prices_do(seen: Seen) -> None:
    assert seen["equity_changed"] is True


def test_the_page_claims_no_edge_and_names_the_assumed_spread(seen: Seen) -> None:
    assert "Unproven: no evidence of edge after costs." in seen["verdict"]
    assert "Assumed spread 1.3 pips" in seen["verdict"]


def test_every_process_is_shown_as_up(seen: Seen) -> None:
    assert seen["processes"] == ["up"] * 7


def test_an_order_beyond_the_limits_shows_why_it_was_denied(seen: Seen) -> None:
    assert seen["denial"].startswith("Denied: ")
    assert "Risk checks" in seen["denied_order"]


def test_a_lost_network_is_noticed_and_every_panel_says_that_it_is_stale(seen: Seen) -> None:
    # Two pings of 5 s without an answer, and the limit of 12 s; and a machine that is busy.
    assert seen["noticed_after_s"] < 30
    # Chart, activity, account, strategy, positions, ticket, processes.
    assert seen["stale_panels"] == 7


def test_twenty_seconds_without_network_lose_nothing(seen: Seen) -> None:
    assert seen["live_again_after_s"] < 30
    assert seen["bars_in_the_cut"] >= 5
    assert seen["bars_missed_by_the_chart"] == 0
    assert seen["read_again"] == [], "the socket resumed, so nothing had to be read again"
    words = {"UNKNOWN": "unknown", "ACCEPTED": "working", "PARTIAL": "part filled"}
    stored = [[key, words.get(state, state.lower())] for key, state in seen["orders_stored"]]
    assert seen["orders_shown"] == stored


@pytest.mark.parametrize("stream", STREAMS_WITHOUT_GAPS)
def test_events_come_without_gaps_across_the_cut(seen: Seen, stream: str) -> None:
    # The visit opens a second page at its end, whose events repeat the newest numbers.
    numbers = sorted({event["seq"] for event in seen["events"] if event["stream"] == stream})
    assert all(after == before + 1 for before, after in pairwise(numbers))


def test_orders_had_events_to_lose(seen: Seen) -> None:
    assert sum(event["stream"] == "orders" for event in seen["events"]) >= 5


def test_the_lab_answers_by_the_socket_and_its_page_can_run_nothing(seen: Seen) -> None:
    assert "lab_failure" not in seen, seen["lab_failure"]
    assert "one backtest proves nothing" in seen["backtest"]
    assert seen["report_policy"].startswith("sandbox; default-src 'none'")
    assert seen["back_at"] == "/research"


def test_every_view_fits_a_telephone(seen: Seen) -> None:
    assert {view: shown["width"] for view, shown in seen["narrow"].items()} == {
        "Chart": 390,
        "Trade": 390,
        "Activity": 390,
        "Account": 390,
        "System": 390,
    }
    assert {view: shown["panels"] for view, shown in seen["narrow"].items()} == {
        "Chart": 2,
        "Trade": 2,
        "Activity": 1,
        "Account": 2,
        "System": 1,
    }


def test_nothing_complains_on_the_console(seen: Seen) -> None:
    assert seen["complaints"] == []


def test_nothing_is_loaded_from_elsewhere(seen: Seen) -> None:
    assert seen["foreign"] == []
