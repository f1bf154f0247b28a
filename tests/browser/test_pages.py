"""Every page on a telephone, and the second factor as a person makes and ends it."""

import pytest

from tests.browser.visits import Seen, visit
from tests.stack import Stack

pytestmark = pytest.mark.browser

VISIT_TIMEOUT_S = 400
TITLES = {
    "/login": "Log in · SEP",
    "/": "Desk · SEP",
    "/research": "Research · SEP",
    "/reconciliation": "Books · SEP",
    "/second-factor": "Second factor · SEP",
}


@pytest.fixture(scope="module")
def seen(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What one look at every page saw, 390 pixels wide."""
    return visit("pages.mjs", stack, tmp_path_factory.mktemp("pages"), timeout_s=VISIT_TIMEOUT_S)


def test_no_page_is_wider_than_a_telephone(seen: Seen) -> None:
    assert len(seen["pages"]) == 9
    assert {address: page["width"] for address, page in seen["pages"].items()} == dict.fromkeys(
        seen["pages"], 390
    )


def test_every_page_has_a_heading_and_a_title_of_its_own(seen: Seen) -> None:
    assert [at for at, page in seen["pages"].items() if page["headings"] == 0] == []
    assert {at: seen["pages"][at]["title"] for at in TITLES} == TITLES
    assert seen["pages"]["/orders/ID"]["title"].startswith("Order ")


def test_text_can_be_read_in_both_themes(seen: Seen) -> None:
    faint = {at: page["faint"] for at, page in seen["pages"].items() if page.get("faint")}
    assert faint == {}


def test_every_control_is_large_enough_for_a_finger(seen: Seen) -> None:
    small = {at: page["small"] for at, page in seen["pages"].items() if page.get("small")}
    assert small == {}


def test_nothing_complains_on_the_console(seen: Seen) -> None:
    assert seen["complaints"] == []


def test_a_second_factor_is_confirmed_by_its_code_and_by_no_other(seen: Seen) -> None:
    assert "wrong" in seen["wrong_code"]
    # Large enough for a camera, and all of it on the screen.
    assert seen["qr"]["width"] >= 200
    assert seen["qr"]["x"] + seen["qr"]["width"] <= 390


def test_eight_recovery_codes_are_shown_once(seen: Seen) -> None:
    assert len(set(seen["recovery_codes"])) == 8
    assert seen["shown_again"] == 0


def test_a_recovery_code_takes_the_second_factor_away_and_a_wrong_one_does_not(seen: Seen) -> None:
    assert "wrong" in seen["wrong_proof"]
    assert seen["taken_away"] is True
