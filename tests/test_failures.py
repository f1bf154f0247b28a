"""The table of failures says what the tests' names say."""

import failures
import pytest


def test_the_table_of_failures_is_current() -> None:
    wanted = failures.page()
    assert failures.PAGE.read_text(encoding="utf-8") == wanted, "run python scripts/failures.py"


def test_names_of_tests_are_read() -> None:
    text = "def test_o6_o10_a_lost_answer() -> None:\nasync def test_d1_x():\ndef test_old_one():"
    assert failures.NAME.findall(text) == ["o6_o10_", "d1_"]


def test_a_row_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "tests_by_row", lambda: {"O99": ["x"]})
    with pytest.raises(SystemExit, match="O99"):
        failures.page()
