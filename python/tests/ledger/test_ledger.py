from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sep_engine.errors import ArgumentError, DataError
from sep_engine.ledger import Ledger, Trial, Tried, canonical, of_grid, sha256_of

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DATA = "a" * 64


def look(ledger: Ledger, *windows: int, data: str = DATA) -> Tried:
    return ledger.record(
        [Trial({"window": w, "horizon": 4}, sharpe=w / 100) for w in windows],
        data_sha256=data,
        code_version="0.1.0",
        tried_by="ada@lab",
        now=NOW,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "ledger.sqlite3"


def test_configurations_are_counted_once_for_each_data_set(path: Path) -> None:
    with Ledger(path) as ledger:
        look(ledger, 32, 64)
        look(ledger, 64, 128)
        look(ledger, 32, data="b" * 64)
        # 32, 64 and 128 on the first data set; Sharpe ratios 0.32, 0.64, 1.28 have mean 0.746667
        # and squared deviations 0.182044 + 0.011378 + 0.284444 = 0.477867; / 2, root 0.488808.
        tried = ledger.tried(DATA)
        assert (tried.trials, tried.looks, tried.look) == (3, 2, 3)
        assert tried.sharpe_deviation == pytest.approx(0.488808, abs=1e-6)
        assert ledger.tried("b" * 64) == Tried(1, 1, 2, None)
        assert ledger.tried("c" * 64) == Tried(0, 0, 1, None)
        assert ledger.verify() == 5


def test_repeating_a_look_keeps_its_place(path: Path) -> None:
    with Ledger(path) as ledger:
        assert look(ledger, 32, 64).look == 1
        assert look(ledger, 16).look == 2
        again = look(ledger, 64, 32)
        assert (again.look, again.looks, again.trials) == (1, 2, 3)


def test_the_key_order_of_a_configuration_does_not_matter() -> None:
    assert canonical({"b": 1, "a": [2, None]}) == '{"a":[2,null],"b":1}'
    assert sha256_of({"b": 1, "a": 2}) == sha256_of({"a": 2, "b": 1})


@pytest.mark.parametrize("statement", ["UPDATE trial SET sharpe = 9", "DELETE FROM trial"])
def test_rows_cannot_be_changed_or_deleted(path: Path, statement: str) -> None:
    with Ledger(path) as ledger:
        look(ledger, 32)
    database = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="only grows"):
        database.execute(statement)
    database.close()


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("UPDATE trial SET sharpe = 9 WHERE seq = 2", 2),
        ("DELETE FROM trial WHERE seq = 2", 3),
        ("UPDATE trial SET tried_by = 'eve' WHERE seq = 3", 3),
    ],
)
def test_a_file_edited_without_its_triggers_is_found_out(
    path: Path, statement: str, row: int
) -> None:
    with Ledger(path) as ledger:
        look(ledger, 32, 64, 128)
    database = sqlite3.connect(path)
    database.execute("DROP TRIGGER trial_is_never_changed")
    database.execute("DROP TRIGGER trial_is_never_deleted")
    database.execute(statement)
    database.commit()
    database.close()
    with Ledger(path) as ledger, pytest.raises(DataError, match=f"broken at row {row}"):
        ledger.verify()


def test_a_look_is_recorded_whole_or_not_at_all(path: Path) -> None:
    with Ledger(path) as ledger:
        with pytest.raises(ArgumentError, match="must be JSON"):
            ledger.record(
                [Trial({"window": 1}, None), Trial({"window": {1}}, None)],
                data_sha256=DATA,
                code_version="0.1.0",
                tried_by="ada@lab",
                now=NOW,
            )
        with pytest.raises(sqlite3.IntegrityError):
            look(ledger, 32, data="short")
        assert ledger.verify() == 0
        assert look(ledger, 32).trials == 1


def test_writers_at_the_same_time_make_one_chain(path: Path) -> None:
    def record(window: int) -> None:
        with Ledger(path) as ledger:
            look(ledger, window, window + 100)

    Ledger(path).close()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(record, range(12)))
    with Ledger(path) as ledger:
        assert ledger.verify() == 24
        assert ledger.tried(DATA).looks == 12


def test_times_must_be_utc(path: Path) -> None:
    with Ledger(path) as ledger, pytest.raises(ArgumentError, match="now must be UTC"):
        ledger.record(
            [Trial({}, None)],
            data_sha256=DATA,
            code_version="0.1.0",
            tried_by="ada@lab",
            now=datetime(2026, 11, 21),  # noqa: DTZ001 - a naive time is the point
        )


def test_another_file_is_not_taken_for_a_ledger(tmp_path: Path) -> None:
    other = tmp_path / "prices.csv"
    other.write_text("time,open,high,low,close\n" * 100)
    with pytest.raises(DataError, match="not a ledger: file is not a database"):
        Ledger(other)


def test_another_seed_is_another_look_at_no_new_configuration(path: Path) -> None:
    def seeded(ledger: Ledger, seed: int) -> Tried:
        return ledger.record(
            [Trial({"window": 32}, 0.1)],
            data_sha256=DATA,
            code_version="0.1.0",
            tried_by="ada@lab",
            now=NOW,
            settings={"seed": seed} if seed else None,
        )

    with Ledger(path) as ledger:
        assert [(t.trials, t.look) for t in (seeded(ledger, s) for s in (0, 7, 0, 8))] == [
            (1, 1), (1, 2), (1, 1), (1, 3),
        ]  # fmt: skip


def test_a_grid_of_one_row_counts_as_all_of_its_rules(path: Path) -> None:
    grid = of_grid({"window": [16, 32]}, rules=64_000_000)
    with Ledger(path) as ledger:
        look(ledger, 32)
        for _ in range(2):  # the same grid again is nothing new
            tried = ledger.record(
                [Trial(grid, None)],
                data_sha256=DATA,
                code_version="0.1.0",
                tried_by="ada@lab",
                now=NOW,
            )
        # A text that holds the word is no grid.
        ledger.record(
            [Trial({"source": '{"rules_of_grid":5}'}, None)],
            data_sha256=DATA,
            code_version="0.1.0",
            tried_by="ada@lab",
            now=NOW,
        )
        assert (tried.trials, tried.look) == (64_000_001, 2)
        assert ledger.tried(DATA).trials == 64_000_002
