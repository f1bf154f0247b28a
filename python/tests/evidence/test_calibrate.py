"""The long calibration keeps what it has done, and gives the same tables however it is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from python.benchmarks import calibrate

UNITS = [
    *(calibrate.Unit("null family", seed) for seed in range(4)),
    *(calibrate.Unit("planted", seed, 4.0, 10) for seed in range(2)),
]


def _names(lines: list[bytes]) -> list[bytes]:
    return sorted(line.split(b'"result"')[0].strip() for line in lines)


def test_a_calibration_that_was_cut_off_goes_on_and_ends_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep = tmp_path / "page.md.worlds.jsonl"
    whole = calibrate.outcomes(UNITS, jobs=2, keep=keep, code="a")
    assert set(whole) == set(UNITS)
    # Of the head and six worlds, head, three worlds and half a line are left.
    lines = keep.read_bytes().splitlines(keepends=True)
    assert len(lines) == 7
    keep.write_bytes(b"".join(lines[:4]) + lines[4][:9])
    capsys.readouterr()

    again = calibrate.outcomes(UNITS, jobs=1, keep=keep, code="a")

    assert "3 of 6 worlds are kept" in capsys.readouterr().err
    assert {unit: done.result for unit, done in again.items()} == {
        unit: done.result for unit, done in whole.items()
    }
    # Nothing was done twice: the file names the same seven lines, in some order.
    assert _names(keep.read_bytes().splitlines()) == _names(lines)


def test_worlds_of_other_code_are_refused(tmp_path: Path) -> None:
    keep = tmp_path / "page.md.worlds.jsonl"
    keep.write_text('{"code": "a"}\n', encoding="utf-8")
    with pytest.raises(SystemExit, match="holds worlds of other code; delete it"):
        calibrate.outcomes(UNITS, jobs=1, keep=keep, code="b")


def test_a_larger_scale_holds_the_worlds_of_a_smaller_one() -> None:
    # At scale 1: 3 parts of 1,000 worlds, 7 Sharpe ratios in 2 families of 200, 27 of 50.
    full = calibrate.units(1.0)
    assert len(full) == 3 * 1000 + 7 * 2 * 200 + 27 * 50
    assert set(calibrate.units(0.1)) < set(full)


def test_a_promise_is_broken_when_its_level_is_below_the_interval() -> None:
    # Wilson's 95 % for 10 of 100 starts at 0.055, for 9 of 100 at 0.048.
    assert calibrate._at_most([True] * 9 + [False] * 91, 0.05)
    assert not calibrate._at_most([True] * 10 + [False] * 90, 0.05)


def test_the_row_of_the_readme_is_filled_with_what_a_run_found() -> None:
    # Scale 0.004 is four worlds of a part; of four, one is 25 % and none 0 %. Wilson's 95 % are
    # 4.6 to 69.9 and 0 to 49.
    found = {
        calibrate.Unit("null market", seed): calibrate.Done((0.5, 0.5, 0.5, seed == 0), 0.1)
        for seed in range(4)
    }
    found |= {calibrate.Unit("peeking user", s): calibrate.Done(False, 0.1) for s in range(4)}
    readme = (calibrate.ROOT / "README.md").read_text(encoding="utf-8")
    filled = calibrate.in_readme(readme, 0.004, found)
    assert (
        "| 25.0 % [4.6, 69.9] of 4 null markets pass, 0.0 % [0.0, 49.0] of 4 users who retry "
        "100 times |"
    ) in filled
    assert len(filled.splitlines()) == len(readme.splitlines())
    with pytest.raises(SystemExit, match="has 0 rows"):
        calibrate.in_readme("# SEP", 0.004, found)
