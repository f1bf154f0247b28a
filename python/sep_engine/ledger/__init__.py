"""Every configuration that was ever tried on a data set: one SQLite file that only grows.

A figure chosen among many means little without how many. Each trial is one row, keyed by the
hash of the data and the hash of the configuration; repeating a configuration adds a row but not
to the count. Rows cannot be changed or deleted (triggers refuse it), and each holds the hash of
the row before it, so that a file edited behind the triggers' back fails `verify`.

A grid too large for a row a rule is one row, `of_grid`, that counts as all of its rules. A look is
told apart by its configurations and by the settings that luck depends on, its seed for one.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import math
import platform
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from sep_engine.errors import ArgumentError, DataError

_GENESIS = "0" * 64
_RULES = "rules_of_grid"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS trial (
    seq INTEGER PRIMARY KEY CHECK (seq >= 1),
    data_sha256 TEXT NOT NULL CHECK (length(data_sha256) = 64),
    look_sha256 TEXT NOT NULL CHECK (length(look_sha256) = 64),
    configuration_sha256 TEXT NOT NULL CHECK (length(configuration_sha256) = 64),
    configuration TEXT NOT NULL,
    code_version TEXT NOT NULL,
    tried_by TEXT NOT NULL CHECK (tried_by <> ''),
    tried_at TEXT NOT NULL,
    sharpe REAL,
    previous_sha256 TEXT NOT NULL,
    sha256 TEXT NOT NULL UNIQUE
) STRICT;
CREATE INDEX IF NOT EXISTS trial_of_data ON trial (data_sha256, configuration_sha256);
CREATE TRIGGER IF NOT EXISTS trial_is_never_changed BEFORE UPDATE ON trial
    BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END;
CREATE TRIGGER IF NOT EXISTS trial_is_never_deleted BEFORE DELETE ON trial
    BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END;
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration and the Sharpe ratio per period it showed; None if it has none."""

    configuration: dict[str, object]
    sharpe: float | None


@dataclass(frozen=True, slots=True)
class Tried:
    """How much has been tried on a data set.

    trials: distinct configurations, those of this look included; of a grid, its rules.
    looks: distinct looks, this one included.
    look: place of this look in the order of first looks, from 1. A repeated look keeps its place.
    sharpe_deviation: standard deviation over the distinct configurations' last Sharpe ratios,
        None for fewer than two.
    """

    trials: int
    looks: int
    look: int
    sharpe_deviation: float | None


def canonical(value: object) -> str:
    """Return the one JSON text of a configuration: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_of(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of a configuration, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def of_grid(grid: Mapping[str, object], *, rules: int) -> dict[str, object]:
    """Return the configuration that stands for all rules of a grid, and counts as so many."""
    return {"grid": dict(grid), _RULES: rules}


def counted_rules(configuration: str) -> int:
    """Return how many trials the canonical JSON of a configuration is."""
    # Only a grid names that key, and only few rows are one: most need no parsing.
    return int(json.loads(configuration)[_RULES]) if f'"{_RULES}":' in configuration else 1


def look_of(configurations: Sequence[str], settings: Mapping[str, object] | None = None) -> str:
    """Return the hash of a look: of the hashes of its configurations, and of its settings."""
    asked = canonical(dict(settings)) if settings else ""
    return hashlib.sha256(("".join(sorted(set(configurations))) + asked).encode()).hexdigest()


def whoami() -> str:
    """Return user@host, which is who a trial is attributed to unless the caller knows better."""
    return f"{getpass.getuser()}@{platform.node()}"


class Ledger:
    """The ledger in one file; created when absent. Use it as a context manager.

    Several processes may record at once: each look is one IMMEDIATE transaction.
    """

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(_SCHEMA)
        except sqlite3.OperationalError:  # locked, or the disk is full: nothing about the file
            self._db.close()
            raise
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise DataError(f"not a ledger: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def record(
        self,
        trials: Sequence[Trial],
        *,
        data_sha256: str,
        code_version: str,
        tried_by: str,
        now: datetime,
        settings: Mapping[str, object] | None = None,
    ) -> Tried:
        """Record one look: all trials of one run, together. Return what has been tried by now.

        Args:
            trials: at least one.
            data_sha256: of the parsed data that all of them saw, 64 hexadecimal digits.
            now: UTC, aware.
            settings: JSON, what else makes this another look, where it is not as usual.

        Raises:
            ArgumentError: no trials, a configuration that is not JSON, or a naive time.
        """
        if not trials or now.utcoffset() != timedelta(0):
            raise ArgumentError(f"trials must not be empty and now must be UTC, was {now}")
        try:
            texts = [canonical(trial.configuration) for trial in trials]
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"a configuration must be JSON: {error}") from error
        hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        look = look_of(hashes, settings)
        with self._transaction():
            seq, previous = self._head()
            for trial, text, digest in zip(trials, texts, hashes, strict=True):
                seq += 1
                row = [seq, data_sha256, look, digest, text, code_version, tried_by]
                row += [now.isoformat(), trial.sharpe, previous]
                previous = sha256_of(row)
                self._db.execute(
                    f"INSERT INTO trial VALUES ({', '.join('?' * 11)})", [*row, previous]
                )
            return self._tried(data_sha256, look)

    def tried(self, data_sha256: str) -> Tried:
        """Return what has been tried on a data set; `look` is that of a look still to come."""
        return self._tried(data_sha256, None)

    def verify(self) -> int:
        """Return the number of rows after checking the chain of hashes from the first to the last.

        Raises:
            DataError: a row is missing, was added out of order or was changed; names its number.
        """
        previous, expected = _GENESIS, 1
        for row in self._db.execute("SELECT * FROM trial ORDER BY seq"):
            *body, digest = row
            if body[0] != expected or body[-1] != previous or sha256_of(body) != digest:
                raise DataError(f"the ledger is broken at row {body[0]}, expected row {expected}")
            previous, expected = digest, expected + 1
        return expected - 1

    def _head(self) -> tuple[int, str]:
        found = self._db.execute("SELECT seq, sha256 FROM trial ORDER BY seq DESC LIMIT 1")
        row = found.fetchone()
        return (row[0], row[1]) if row else (0, _GENESIS)

    def _tried(self, data_sha256: str, look: str | None) -> Tried:
        rows = self._db.execute(
            "SELECT configuration, sharpe, max(seq) FROM trial WHERE data_sha256 = ? "
            "GROUP BY configuration_sha256",
            [data_sha256],
        ).fetchall()
        looks = [
            found[0]
            for found in self._db.execute(
                "SELECT look_sha256 FROM trial WHERE data_sha256 = ? "
                "GROUP BY look_sha256 ORDER BY min(seq)",
                [data_sha256],
            )
        ]
        sharpes = [sharpe for _, sharpe, _ in rows if sharpe is not None]
        deviation = None
        if len(sharpes) >= 2:
            mean = sum(sharpes) / len(sharpes)
            deviation = math.sqrt(sum((s - mean) ** 2 for s in sharpes) / (len(sharpes) - 1))
        place = looks.index(look) + 1 if look in looks else len(looks) + 1
        tried = sum(counted_rules(configuration) for configuration, _, _ in rows)
        return Tried(tried, len(looks), place, deviation)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
