"""The study of real bars: the default rules on the sample and on files that stay private."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sep_engine.cli.runs import write_files
from sep_engine.cli.source import Stages
from sep_engine.cli.text import time_text
from sep_engine.cli.verdict import VerdictOptions, judge
from sep_engine.errors import ArgumentError

if TYPE_CHECKING:
    from sep_engine.evidence.settings import Count


@dataclass(frozen=True, slots=True)
class Case:
    """One set of bars: a file of the data folder, None for the sample, and what a trade costs.

    quotes: file with the spread at each close; else `pips` is assumed.
    note: what a reader must know of the file.
    """

    title: str
    file: str | None
    quotes: str | None = None
    pips: str | None = None
    note: str = ""


CASES = (
    Case("EUR/USD H1 2017, the sample", None),
    Case(
        "EUR/USD M1 May 2014",
        "eurusd_m1_oanda_2014-05_mid.csv.gz",
        "eurusd_m1_oanda_2014-05_quotes.csv.gz",
    ),
    Case(
        "GBP/USD H1 2012-2022",
        "gbpusd_h1_mt_2012-2022.csv.gz",
        pips="1.5",
        note="times are the broker's clock, UTC+1 to +3",
    ),
    Case("EUR/USD H1 2007-2018", "eurusd_h1_oanda_mid.csv.gz", "eurusd_h1_oanda_quotes.csv.gz"),
)

_HEAD = """# Verdicts on real bars

What `sep verdict` says of its default family, 145 rules, on real bars: the sample that comes with
SEP and three files that their vendors do not let us pass on. Each is a first look, with
{surrogates} worlds of coin flips.

```
sep study real-data --data DIR --surrogates {surrogates} --out docs/studies/real-data.md
```

"""


@dataclass(frozen=True, slots=True)
class Judged:
    """A case, the evidence document on it, and the processor time that it took."""

    case: Case
    document: Mapping[str, Any]
    cpu_s: float


def judged(
    case: Case, data: Path, bar: Stages, *, surrogates: int, keep: Path | None = None
) -> Judged:
    """Return the verdict on one case, from the folder `keep` if it is there already."""
    kept = None if keep is None else keep / f"{case.file or 'sample'}-{surrogates}.json"
    if kept is not None and kept.is_file():
        stored = json.loads(kept.read_text(encoding="utf-8"))
        return Judged(case, stored["document"], stored["cpu_s"])

    def path(name: str | None) -> str | None:
        if name is None:
            return None
        found = data / name
        if not found.is_file():
            raise ArgumentError(f"--data {data}: {name} is not there")
        return str(found.resolve())

    options = VerdictOptions(
        file=path(case.file),
        sample=case.file is None,
        strategy=None,
        grid=None,
        measured=False,
        spread_pips=case.pips,
        quotes=path(case.quotes),
        pip=None,
        surrogates=surrogates,
        folds=8,
        seed=0,
        synthetic=False,
        tick=None,
        calendar="fx",
        columns=None,
        time_zone=None,
        accept=(),
    )

    def first_look(bars: object, family: object, settings: object) -> Any:
        from sep_engine.evidence.settings import Count

        def count(sharpes: Sequence[float | None]) -> Count:
            return Count(len(sharpes), 1)

        return count

    started = time.process_time()
    document = judge(options, bar, first_look)
    found = Judged(case, document, time.process_time() - started)
    if kept is not None:
        text = json.dumps({"document": document, "cpu_s": found.cpu_s})
        write_files(kept.parent, {kept.name: text})
    return found


def page(found: Sequence[Judged], *, surrogates: int) -> str:
    """Return the Markdown page."""
    parts = [_HEAD.format(surrogates=surrogates)]
    parts.append("| | " + " | ".join(one.case.title for one in found) + " |\n")
    parts.append("|---|" + "---|" * len(found) + "\n")
    rows = [_rows(one) for one in found]
    parts += [f"| {name} | " + " | ".join(row[name] for row in rows) + " |\n" for name in rows[0]]
    parts.append(
        "\nThe best rule is the best over all days, so its own figures flatter it; the share of "
        "coin worlds\nwith a best rule as good says by how much. Not passed, line by line:\n"
    )
    for one in found:
        failed = [line for line in one.document["verdict"]["lines"] if not line["passed"]]
        passed = len(one.document["verdict"]["lines"]) - len(failed)
        parts.append(
            f"\n**{one.case.title}.** {passed} of {passed + len(failed)} lines passed.\n\n"
        )
        parts += [f"- {line['line']['text']}: {line['reason']}\n" for line in failed]
    return "".join(parts)


def _rows(one: Judged) -> dict[str, str]:
    from sep_engine.report.verdict import interval, number

    document = one.document
    given, costs, best = document["provenance"], document["costs"], document["best"]["number"]
    direction, money = document["direction"], document["money"]
    chosen, gate = document["selection"], document["causality"]
    sign, measured = document["controls"]["sign"], money["levels"]["measured"]
    rule = document["rules"][best]
    return {
        "verdict": document["verdict"]["text"],
        "bars": f"{given['bars']:,} on {given['days']:,} days",
        "from, to": f"{(time_text(given['first_ns']) or '')[:10]}, "
        f"{(time_text(given['last_ns']) or '')[:10]}",
        "note": one.case.note,
        "sha256 of the parsed bars": f"`{given['content_sha256'][:12]}`",
        "spread of a round trip": f"{costs['spread'] / costs['pip']:.2f} pips, "
        + ("assumed" if costs["assumed"] else "measured"),
        "causality": f"{'passed' if gate['passed'] else 'LEAKS'}, {gate['truncations']:,} cuts",
        "best rule": rule["name"],
        "its trades": f"{direction['trades']:,}",
        "its hit rate, by day": interval(direction["hit_rate"], 3),
        "its net, pips a trade": number(measured["net_pips"], 3),
        "break-even hit rate": number(money["break_even_hit_rate"], 3),
        "coin worlds as good, p": number(sign["best_p"], 3),
        "walk-forward, pips a day": f"{measured['walk_forward_a_day'] / costs['pip']:+.2f}",
        "walk-forward in coin worlds, p": number(sign["walk_forward_p"], 3),
        "SPA p": number(chosen["spa"]["consistent"], 3),
        "deflated Sharpe, needed": f"{number(chosen['deflated_sharpe']['value'], 3)}, "
        f"{number(chosen['deflated_sharpe']['needed'], 3)}",
        "hits beyond last-bit reversal": interval(direction["out_of_sample"]["difference"], 2),
        "processor time": f"{one.cpu_s:.0f} s",
    }
