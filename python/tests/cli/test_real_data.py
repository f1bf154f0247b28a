"""sep study real-data, on the first bars of the sample in place of files that are not shipped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sep_engine.cli import real_data
from sep_engine.cli.real_data import Case

Sep = Callable[..., Any]


def test_the_page_holds_each_verdict_and_what_failed(
    sep: Sep,
    small: Callable[[int], Path],
    tmp_path: Path,
    quick_lab: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases = (Case("Small", small(400).name, pips="1.3", note="a note"),)
    monkeypatch.setattr(real_data, "CASES", cases)
    command = ["study", "real-data", "--data", tmp_path, "--surrogates", "19"]
    page = sep(*command, "--keep", tmp_path / "kept").out
    assert "| | Small |" in page
    assert "| verdict | No evidence of edge after costs. |" in page
    assert "| spread of a round trip | 1.30 pips, assumed |" in page
    assert "| note | a note |" in page
    assert "- out of sample it hits more often than last-bit reversal" in page
    # What is kept is not computed again, so the bars are no longer needed.
    (tmp_path / "small.csv").unlink()
    assert sep(*command, "--keep", tmp_path / "kept").out == page
    assert "small.csv is not there" in sep(*command).err
