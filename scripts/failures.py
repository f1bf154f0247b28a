"""Write docs/reference/failures.md: which rows of the failure catalogue have a test of their name.

A test covers a row when its name begins with the row's letter and number: `test_o10_...`, or
`test_o6_o10_...` for two rows. `failures.py --check` fails if the page is not what it would write.
"""

import argparse
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "failures.md"
NAME = re.compile(r"^\s*(?:async )?def test_((?:[obcd]\d+_)+)", re.MULTILINE)
GROUPS = {
    "O": "Order path",
    "B": "Broker link and market data",
    "C": "Infrastructure",
    "D": "Risk, money, time",
}
ROWS = {
    "O1": "A request to place an order is repeated",
    "O2": "The trader dies before an intent is kept",
    "O3": "… between the intent and its claim",
    "O4": "… between the claim and the send",
    "O5": "… in the middle of the write to the socket",
    "O6": "… after the venue took the order, before its answer",
    "O7": "… between the answer and the commit",
    "O8": "… between the commit and its publication",
    "O9": "… again and again while it recovers",
    "O10": "The connection is cut after the send, without an answer",
    "O11": "The venue is gone for minutes while an order is in doubt",
    "O12": "The send arrives after a look-up said that it did not",
    "O13": "A read lags behind the write",
    "O14": "The venue says that the client id is taken",
    "O15": "A message or task is delivered twice, or days late",
    "O16": "A task is lost with its worker",
    "O17": "Two traders start for one account",
    "O18": "A trader that stood still goes on after it lost the account",
    "O19": "Acknowledgement, fills and cancel come in any order, and twice",
    "O20": "The venue rejects, for a reason known or new",
    "O21": "An accepting answer carries a cancel",
    "O22": "An answer is cut or malformed at any byte",
    "O23": "Too many requests",
    "O24": "The gateway answers with an error of its own",
    "O25": "Everybody retries after an outage",
    "O26": "More is filled than was ordered, or after the end",
    "O27": "Somebody trades beside us",
    "O28": "Ids of the venue collide or begin again",
    "O29": "A cancel or change meets a fill",
    "B1": "A stream falls silent and its connection lives",
    "B2": "A quote is too old at the decision or at the send",
    "B3": "Transactions are missed while a stream is away",
    "B4": "Ticks come out of order or twice",
    "B5": "Prices that are none: NaN, 0, negative, text",
    "B6": "A crossed book, a spread a hundred times as wide",
    "B7": "A spike of one tick",
    "B8": "The venue does not trade the pair now",
    "B9": "Clocks disagree or jump",
    "B10": "Somebody in the house is slow",
    "B11": "Bursts, and a replay a hundred times as fast",
    "B12": "TLS: expired, wrong host, self-signed",
    "B13": "A token or account of the wrong environment",
    "B14": "An account that takes no client ids",
    "B15": "Credentials are revoked",
    "B16": "A redirect to somewhere else",
    "B17": "A huge or compressed answer",
    "B18": "The paper broker and the adapter drift apart",
    "C1": "Valkey dies or restarts",
    "C2": "Valkey is flushed",
    "C3": "A Valkey replica that misses the last second takes over",
    "C4": "Valkey is full or stands still",
    "C5": "A subscriber is too slow",
    "C6": "PostgreSQL is killed or restarted",
    "C7": "The database is away while positions are open",
    "C8": "Deadlocks and serialisation failures",
    "C9": "A lock or a query takes too long",
    "C10": "Connections run out; a pool in between",
    "C11": "A disk is full",
    "C12": "A write to the disk fails",
    "C13": "A row of the event log was changed or lost",
    "C14": "A process runs out of memory",
    "C15": "Files or processes run out",
    "C16": "A migration is interrupted, old code meets new tables",
    "C17": "Mixed builds during an update",
    "C18": "A backup of an hour ago is restored",
    "C19": "Scheduled jobs come twice or not at all",
    "C20": "The host loses power",
    "C21": "Everything answers, a hundred times as slowly",
    "D1": "An order of the wrong size, price or side",
    "D2": "A rule that orders without end",
    "D3": "A day's loss or a drawdown reaches its limit",
    "D4": "The kill switch at its three levels",
    "D5": "The kill switch while other parts are down",
    "D6": "Re-arming",
    "D7": "The gate breaks, or a limit is missing or no number",
    "D8": "Two orders that are within a limit alone and beyond it together",
    "D9": "Our own orders meet each other",
    "D10": "Margin or leverage at the venue changes",
    "D11": "Money in binary fractions",
    "D12": "Weekends, holidays, the rollover, blackouts",
    "D13": "Clock changes, leap days",
    "D14": "The clock jumps back while orders have an end",
    "D15": "A gap beyond the stop",
    "D16": "The backtest and the trader decide differently",
    "D17": "A rule hangs or leaks",
}
HEAD = """# Failures and their tests

The failure catalogue of the order path (O), the broker link (B), the infrastructure (C) and risk
(D), and the tests whose names carry a row's id. Written by `python scripts/failures.py`; a test
fails when it is not current. A row without a test of its name may be covered in part by tests of
other names; it is not counted here.

"""


def tests_by_row() -> dict[str, list[str]]:
    """Return the files that hold tests of each row."""
    listed = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*test_*.py"),
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(filter(None, listed.split("\0"))):
        if not (ROOT / path).is_file():
            continue
        for ids in NAME.findall((ROOT / path).read_text(encoding="utf-8")):
            for row in ids.upper().strip("_").split("_"):
                if f"`{path}`" not in found[row]:
                    found[row].append(f"`{path}`")
    return found


def page() -> str:
    """Return the page as it should be.

    Raises:
        SystemExit: a test names a row that the catalogue does not have.
    """
    covered = tests_by_row()
    if unknown := sorted(set(covered) - set(ROWS)):
        raise SystemExit(f"tests name rows that the catalogue does not have: {', '.join(unknown)}")
    parts = [HEAD]
    total = sum(row in covered for row in ROWS)
    parts.append(f"{total} of {len(ROWS)} rows have a test of their name.\n")
    for letter, title in GROUPS.items():
        rows = [row for row in ROWS if row[0] == letter]
        count = sum(row in covered for row in rows)
        parts.append(
            f"\n## {title}: {count} of {len(rows)}\n\n| row | fault | tests |\n|---|---|---|\n"
        )
        parts += [f"| {row} | {ROWS[row]} | {', '.join(covered.get(row, []))} |\n" for row in rows]
    return "".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if not current")
    options = parser.parse_args()
    wanted = page()
    if options.check:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted:
            return 0
        print("docs/reference/failures.md is not current: run python scripts/failures.py")
        return 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
