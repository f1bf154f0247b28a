"""sep backtest: one rule or strategy over bars, as a table and as a page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sep_engine.cli.given import EntryOption, Given, SideOption, given_bars, whole_ticks
from sep_engine.cli.runs import absolute, check_out, recorded, run_key, tried_text, write_files
from sep_engine.cli.source import (
    Accept,
    AsJson,
    Calendar,
    Columns,
    File,
    PipOption,
    Session,
    SourceOptions,
    SpreadOption,
    Stages,
    TickOption,
    TimeZone,
    UseSample,
    decimal_option,
    located,
    progress,
)
from sep_engine.cli.strategy import located as located_strategy
from sep_engine.cli.strategy import rules_in
from sep_engine.cli.text import duration_text, screen, time_text
from sep_engine.errors import ArgumentError, RuleError

if TYPE_CHECKING:
    from sep_engine.backtest import BacktestResult
    from sep_engine.backtest.account import Leg, Rate
    from sep_engine.backtest.run import TradedBars
    from sep_engine.data import Bars
    from sep_engine.data.store import Stored
    from sep_engine.signals import Rule


def backtest(
    file: File = None,
    sample: UseSample = False,
    rule: Annotated[
        Path | None,
        typer.Option(help="JSON file with a rule; last-bit reversal at high coherence by default."),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="A strategy class (.py, module:Class or an installed one's name), not a rule."
        ),
    ] = None,
    session: Session = None,
    spread_pips: SpreadOption = None,
    quotes: Annotated[
        Path | None,
        typer.Option(help="File with time,bid,ask at the same times: each bar's own spread."),
    ] = None,
    cost_pips: Annotated[
        str | None,
        typer.Option(metavar="PIPS", help="Commission and slippage of each side; none by default."),
    ] = None,
    side: SideOption = None,
    entry: EntryOption = None,
    pip: PipOption = None,
    balance: Annotated[
        str | None,
        typer.Option(metavar="MONEY", help="Keep an account that opens with this, too."),
    ] = None,
    currency: Annotated[
        str | None, typer.Option(help="With --balance: of the account; the quote's by default.")
    ] = None,
    risk: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="With --balance: lose this share at the stop, 0.005."),
    ] = None,
    commission: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="With --balance: of each side's turnover, 0.00002."),
    ] = None,
    slippage_pips: Annotated[
        str | None, typer.Option(metavar="PIPS", help="With --balance: of each fill but a target.")
    ] = None,
    financing: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]LONG,SHORT",
            help="With --balance: rates a year, below 0 is paid: -0.031,0.012. NAME= says of which "
            "instrument; repeatable.",
        ),
    ] = None,
    financing_days: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]MON,...,SUN",
            help="With --balance: days of financing that each trading day counts; 1,1,3,1,1,0,0 by "
            "default. Repeatable.",
        ),
    ] = None,
    margin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]SHARE",
            help="With --balance: share of a position's value that it ties up, 0.0333; what is not "
            "free opens nothing. Repeatable.",
        ),
    ] = None,
    closeout: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="With --margin: close everything when equity falls to this share of the margin in "
            "use; 0.5 by default.",
        ),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="NAME", help="With --balance: stored data that share the account; repeatable."
        ),
    ] = None,
    rate: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="NAME",
            help="With --balance: stored data that turn a quote currency into the account's.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the page and its JSON.")] = Path("runs"),
    tick: TickOption = None,
    calendar: Calendar = "fx",
    columns: Columns = None,
    time_zone: TimeZone = None,
    accept: Accept = None,
    as_json: AsJson = False,
) -> None:
    """Run one rule over the bars of a FILE: entry at the next open, costs, stops, targets."""
    if strategy is not None and rule is not None:
        raise ArgumentError("--rule and --strategy both name what trades: give one")
    if (also or rate) and balance is None:
        raise ArgumentError("--also and --rate go with --balance: instruments meet in an account")
    options = BacktestOptions(
        file=absolute(located(file)),
        sample=sample,
        rule=None if strategy is not None else rule_of(rule).to_json(),
        spread_pips=spread_pips,
        quotes=absolute(quotes),
        cost_pips=cost_pips,
        side=side,
        pip=pip,
        account=_account_options(
            balance,
            currency=currency,
            risk=risk,
            commission=commission,
            slippage_pips=slippage_pips,
            financing=financing,
            financing_days=financing_days,
            margin=margin,
            closeout=closeout,
        ),
        tick=tick,
        calendar=calendar,
        columns=columns,
        time_zone=time_zone,
        accept=tuple(accept or ()),
        strategy=located_strategy(strategy),
        session=session,
        also=tuple(absolute(located(one)) or "" for one in also or ()),
        rate=tuple(absolute(located(one)) or "" for one in rate or ()),
        entry=entry,
    )
    check_out(out)
    with progress(stages=4) as bar:
        document, page, traded = trade_back(options, bar)
        bar.begin("Writing")
        bars = traded[0][0]
        tried, *_ = [recorded(out, of, [_trial(of, result, options)]) for of, result in traded]
        stem = f"backtest-{bars.name.split('.')[0]}-{run_key(document)}"
        stored = {**document, "run": {"command": "backtest", "options": asdict(options)}}
        text = json.dumps(stored, indent=2) + "\n"
        write_files(out, {f"{stem}.html": page, f"{stem}.json": text})
        path = out / f"{stem}.html"
    if as_json:
        typer.echo(json.dumps({**document, "page": str(path), "trials": tried.trials}, indent=2))
    else:
        _print(document, bars)
        typer.echo(tried_text(tried, out))
        typer.echo(f"Wrote {path}")


@dataclass(frozen=True, slots=True)
class BacktestOptions(SourceOptions):
    """Everything that decides a backtest, as JSON: what the command was given, paths absolute."""

    rule: dict[str, Any] | None
    spread_pips: str | None
    quotes: str | None
    cost_pips: str | None
    side: str | None
    pip: str | None
    account: dict[str, Any] | None
    strategy: str | None = None
    session: str | None = None
    also: tuple[str, ...] = ()
    rate: tuple[str, ...] = ()
    entry: str | None = None


def _given(options: BacktestOptions) -> Given:
    return given_bars(
        options.source(),
        side=options.side,
        pip=options.pip,
        spread_pips=options.spread_pips,
        quotes=options.quotes,
    )


def _traded(given: Given, options: BacktestOptions) -> BacktestResult:
    """Return the backtest of the rule or strategy on one instrument."""
    from sep_engine.backtest import Costs, run, run_decided
    from sep_engine.cli.strategy import strategy_decisions, within_session
    from sep_engine.signals import Rule

    bars, per_side = given.bars, 0
    if options.cost_pips is not None:
        per_side = whole_ticks("--cost-pips", options.cost_pips, given.pip, bars.tick)
    costs = Costs(given.spread, per_side, assumed=given.assumed)
    how: dict[str, Any] = {
        "side": given.side,
        "entry": options.entry or "open",
        "counts": None if options.session is None else within_session(options.session, bars),
    }
    if options.strategy is None:
        assert options.rule is not None
        return run(bars, Rule.from_json(options.rule), costs, **how)
    kept, decided = strategy_decisions(options.strategy, bars)
    return run_decided(bars, kept, decided, costs, **how)


def _trial(
    bars: Bars, result: BacktestResult, options: BacktestOptions
) -> tuple[dict[str, object], float | None]:
    """Return what the ledger is told was tried, in the words of a verdict, and its Sharpe ratio."""
    import numpy as np

    from sep_engine.backtest import configuration
    from sep_engine.cli.strategy import family_of
    from sep_engine.model.calendar import trading_days
    from sep_engine.signals import Rule

    if isinstance(result.rule, Rule):
        tried = configuration(result.rule, result.entry)
    else:
        tried = dict(family_of(options.strategy, entry=options.entry).configurations[0])
    if options.session is not None:
        tried["session"] = options.session
    return tried, result.sharpe(np.unique(trading_days(bars.times)).size)


def trade_back(
    options: BacktestOptions, bar: Stages
) -> tuple[dict[str, Any], str, list[tuple[Bars, BacktestResult]]]:
    """Return the document of a backtest, its page, and the bars of each instrument with the result
    on them."""

    bar.begin("Reading")
    from sep_engine import __version__
    from sep_engine.report import Provenance, backtest_document, backtest_page

    given = _given(options)
    others = [_given(replace(options, file=path, sample=False)) for path in options.also]
    bars, pip, synthetic = given.bars, given.pip, given.synthetic
    rows = [(name.replace("_", " "), str(value)) for name, value in given.origin.items()]
    bar.begin("Trading")
    result = _traded(given, options)
    others_results = [_traded(other, options) for other in others]
    if options.session is not None:
        rows = [("entered only within", options.session), *rows]
    money = None
    if options.account is not None:
        legs = list(zip((given, *others), (result, *others_results), strict=True))
        rates = [
            replace(options, file=path, sample=False).source().stored() for path in options.rate
        ]
        money = _kept_account(options.account, legs, rates)
        rows = [*rows, *((f"account: {title}", text) for title, text in _account_rows(money))]
    bar.begin("Drawing")
    page = backtest_page(
        result,
        times=bars.times,
        closes=bars.close,
        pip=pip,
        provenance=Provenance(
            [
                ("bars of", duration_text(bars.duration)),
                ("first", time_text(int(bars.times[0])) or ""),
                ("last", time_text(int(bars.times[-1])) or ""),
                ("calendar", bars.calendar),
                *rows,
                ("sha256 of the file", bars.sha256),
            ],
            [
                f"{finding.kind}: {finding.count:,} rows, first in line "
                f"{finding.first_line:,}; {finding.text}"
                for finding in bars.quality.findings
            ],
            synthetic,
        ),
        engine_version=__version__,
    )
    document = {
        **backtest_document(
            result,
            pip=pip,
            session=options.session,
            synthetic=synthetic or any(other.synthetic for other in others),
            engine_version=__version__,
        ),
        "file_sha256": bars.sha256,
        **({} if money is None else {"account": money}),
        **({"also": [other.to_json() for other in others_results]} if others else {}),
    }
    made = zip((given, *others), (result, *others_results), strict=True)
    return document, page, [(one.bars, found) for one, found in made]


def _account_options(balance: str | None, **others: Any) -> dict[str, Any] | None:
    if balance is not None:
        return {"balance": balance, **others}
    for name, other in others.items():
        if other is not None:
            raise ArgumentError(f"--{name.replace('_', '-')} goes with --balance")
    return None


def _kept_account(
    asked: dict[str, Any],
    traded: list[tuple[Given, BacktestResult]],
    rates: list[Stored],
) -> dict[str, Any]:
    """Return what the trades do to one account, in its currency, as text of exact decimals."""
    from sep_engine.backtest.account import keep_account

    legs = [_leg(asked, given, result) for given, result in traded]
    names = {leg.instrument.name for leg in legs}
    for option in ("financing", "financing_days", "margin"):
        for one in asked[option] or ():
            name, named, _ = one.partition("=")
            if named and name not in names:
                raise ArgumentError(
                    f"--{option.replace('_', '-')} {one}: {name} is not traded; "
                    f"{', '.join(sorted(names))} are"
                )
    currency = asked["currency"] or legs[0].instrument.quote
    closeout = decimal_option("--closeout", asked.get("closeout"))
    if closeout is not None and (not asked["margin"] or closeout > 1):
        raise ArgumentError("--closeout goes with --margin and is a share, 0 to 1")
    account = keep_account(
        legs,
        currency=currency,
        opening=decimal_option("--balance", asked["balance"]) or Decimal(0),
        rates=_rates(legs, rates, currency),
        closeout_fraction=Decimal("0.5") if closeout is None else closeout,
    )
    by_instrument = {
        leg.instrument.name: [
            one for one in account.booked if one.instrument == leg.instrument.name
        ]
        for leg in legs
    }
    return {
        "currency": account.currency,
        "opening": str(account.opening),
        "balance": str(account.balance),
        **{name: str(account.total(name)) for name in ("gross", "commission", "financing", "net")},
        "max_drawdown": str(account.max_drawdown),
        "trades": len(account.booked),
        "instruments": {
            name: {"trades": len(booked), "net": str(sum((one.net for one in booked), Decimal(0)))}
            for name, booked in by_instrument.items()
        },
        "skipped": [f"{reason}, {name} bar {row}" for name, row, reason in account.skipped],
        "closeouts": [
            f"equity {one.equity:.2f} against a margin of {one.margin:.2f}, {one.instrument} bar "
            f"{one.bar}"
            for one in account.closeouts
        ],
    }


def _leg(asked: dict[str, Any], given: Given, result: BacktestResult) -> Leg:
    from sep_engine.backtest.account import SPOT_DAYS, Charges, Leg, Size
    from sep_engine.model import Instrument

    name, bars = given.instrument, given.bars
    if name is None or "_" not in name:
        raise ArgumentError(
            "--balance needs an instrument such as EUR_USD: keep the bars under a name with "
            "sep data import, or take --sample"
        )
    base, _, quote = name.partition("_")
    decimals = max(0, -int(bars.tick.as_tuple().exponent))
    traded = Instrument(
        name, base, quote, bars.tick, given.pip, Decimal(1), decimals, bars.calendar
    )
    rates = _numbers(asked, "financing", name, 2, "two rates a year: -0.031,0.012")
    days = _numbers(
        asked, "financing_days", name, 7, "seven numbers, Monday to Sunday: 1,1,3,1,1,0,0"
    )
    if days is not None and any(day != day.to_integral_value() for day in days):
        raise ArgumentError("--financing-days takes whole numbers")
    margin = _numbers(asked, "margin", name, 1, "a share of the position's value: 0.0333")
    slippage = asked["slippage_pips"]
    risk = decimal_option("--risk", asked["risk"])
    return Leg(
        traded,
        bars,
        result,
        Size(units=result.rule.units) if risk is None else Size(risk_fraction=risk),
        Charges(
            slippage_ticks=0
            if slippage is None
            else whole_ticks("--slippage-pips", slippage, given.pip, bars.tick),
            commission_fraction=decimal_option("--commission", asked["commission"]) or Decimal(0),
            long_rate=Decimal(0) if rates is None else rates[0],
            short_rate=Decimal(0) if rates is None else rates[1],
            days_charged=SPOT_DAYS if days is None else tuple(map(int, days)),
            margin_fraction=Decimal(0) if margin is None else margin[0],
        ),
    )


def _numbers(
    asked: dict[str, Any], option: str, instrument: str, count: int, takes: str
) -> list[Decimal] | None:
    """Return what a repeatable option says of an instrument: by its name, or of all of them."""
    found: dict[str, str] = {}
    for one in asked[option] or ():
        name, named, text = one.partition("=")
        key, text = (name, text) if named else ("", one)
        if key in found:
            raise ArgumentError(f"--{option.replace('_', '-')} {one}: said twice")
        found[key] = text
    said = found.get(instrument, found.get(""))
    if said is None:
        return None
    try:
        numbers = [Decimal(part.strip()) for part in said.split(",")]
        if len(numbers) != count or not all(number.is_finite() for number in numbers):
            raise InvalidOperation
    except InvalidOperation:
        raise ArgumentError(f"--{option.replace('_', '-')} takes {takes}; was {said!r}") from None
    return numbers


def _rates(legs: list[Leg], rates: list[Stored], currency: str) -> dict[str, Rate]:
    """Return account currency for one unit of each quote currency, from whatever bars say it."""
    import numpy as np

    from sep_engine.backtest.account import Rate

    known: list[tuple[str, TradedBars]] = [(one.metadata["instrument"], one.bars) for one in rates]
    known += [(leg.instrument.name, leg.bars) for leg in legs]
    found = {}
    for quote in {leg.instrument.quote for leg in legs} - {currency}:
        for name, bars in known:
            if name in (f"{quote}_{currency}", f"{currency}_{quote}"):
                # A close is known when the next bar starts, the last one when the data end.
                ends = np.append(bars.times[1:], np.iinfo(np.int64).max)
                direct = name == f"{quote}_{currency}"
                found[quote] = Rate(ends, bars.close if direct else 1 / bars.close)
                break
        else:
            raise ArgumentError(
                f"nothing turns {quote} into {currency}: give --rate with stored data of "
                f"{quote}_{currency} or {currency}_{quote}"
            )
    return found


def _account_rows(money: dict[str, Any]) -> list[tuple[str, str]]:
    def text(name: str) -> str:
        return f"{Decimal(money[name]):,.2f} {money['currency']}"

    rows = [(name, text(name)) for name in ("opening", "balance", "gross", "commission")]
    rows += [("financing", text("financing")), ("largest fall", text("max_drawdown"))]
    if len(money["instruments"]) > 1:
        rows += [
            (name, f"{one['trades']:,} trades, {Decimal(one['net']):+,.2f} {money['currency']}")
            for name, one in money["instruments"].items()
        ]
    for title, name in (("not made", "skipped"), ("closed for margin", "closeouts")):
        if money[name]:
            rows.append((title, f"{len(money[name]):,}, first: {money[name][0]}"))
    return rows


def rule_of(path: Path | None) -> Rule:
    """Return the rule of a JSON file, or the default one; RuleError names file and path."""
    from sep_engine.signals import DEFAULT_RULE

    if path is None:
        return DEFAULT_RULE
    found = rules_in(path)
    if len(found) != 1:
        raise RuleError(f"{path}: holds {len(found)} rules; a backtest takes one")
    return found[0]


def _print(document: dict[str, Any], bars: Bars) -> None:
    from rich.table import Table
    from rich.text import Text

    from sep_engine.report.backtest import UNPROVEN

    console = screen()
    figures = document["figures"]
    pips_per_tick = float(Decimal(document["tick"]) / Decimal(document["pip"]))

    def pips(ticks: float | None) -> str:
        return "" if ticks is None else f"{ticks * pips_per_tick:+,.2f}"

    mark = "SYNTHETIC: " if document["synthetic"] else ""
    console.print(Text(mark + document["name"], style="bold"))
    console.print(
        f"{figures['bars']:,} bars of {duration_text(bars.duration)}, "
        f"{time_text(int(bars.times[0]))} to {time_text(int(bars.times[-1]))}"
    )
    costs = document["costs"]
    console.print(
        f"{'assumed' if costs['assumed_spread'] else 'measured'} spread "
        f"{costs['spread_ticks'] * pips_per_tick:.2f} pips, prices are {document['price_side']}, "
        f"tick {document['tick']}, pip {document['pip']}"
    )
    table = Table("pips", "sum", "per trade")
    table.columns[1].justify = table.columns[2].justify = "right"
    for name in ("gross", "net"):
        table.add_row(
            name, pips(figures[f"{name}_ticks"]), pips(figures[f"{name}_ticks_per_trade"])
        )
    console.print(table)
    won = "" if figures["win_rate"] is None else f", {figures['win_rate']:.1%} won"
    exits = ", ".join(f"{count:,} by {why}" for why, count in figures["exits"].items() if count)
    console.print(f"{figures['trades']:,} trades{won}{': ' if exits else ''}{exits}")
    console.print(
        f"largest drawdown {pips(-figures['max_drawdown_ticks'])} pips, longest losing run "
        f"{figures['longest_losing_run']}, in the market {figures['exposure']:.1%} of bars"
    )
    if "account" in document:
        said = ", ".join(f"{name} {text}" for name, text in _account_rows(document["account"]))
        console.print(f"account: {said}")
    console.print(UNPROVEN, style="yellow")
