"""Runs: asked for over the API, computed in shards, answered once."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from drf_spectacular.generators import SchemaGenerator
from matplotlib.figure import Figure

from sep_engine.backtest import Costs, Grid
from sep_engine.backtest import run as backtest
from sep_engine.data import load_sample
from sep_engine.data.store import BarColumns, Origin, save
from sep_engine.errors import DataError
from sep_engine.model import QuoteBar
from sep_engine.model.hours import TradingHours
from sep_engine.signals import Rule
from webapp.trading.models import Candle, EventLog, Feed, Run, RunShard, Strategy, Trial
from webapp.trading.research import evidence, pieces
from webapp.trading.research.question import Answer
from webapp.trading.selectors import run_data
from webapp.trading.selectors.standing import OUT_OF_SAMPLE, strategy_sha256
from webapp.trading.services import runs, trials
from webapp.trading.services.live_gate import may_trade_live
from webapp.trading.services.run_compute import shard_compute
from webapp.trading.trader import feeds

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
RULE = {
    "direction": "last_bit_reversal",
    "window": 16,
    "horizon_bars": 4,
    "stop_ticks": None,
    "units": "1000",
}
GRID = {"direction": ["last_bit_reversal", "last_bit_momentum"], "horizon_bars": [1, 4],
        "stop_ticks": "none", "window": 16}  # fmt: skip


def ask(api: Any, kind: str, body: dict[str, Any], key: str = "key-1") -> Any:
    return api.post(f"/api/{kind}", body, format="json", headers={"Idempotency-Key": key})


def work(count: int = 1_000, *, holder: str = "one", now: datetime = NOW) -> int:
    """Compute up to `count` shards in this process, as a worker does; return how many."""
    for done in range(count):
        shard = runs.shard_claim(holder=holder, now=now)
        if shard is None:
            return done
        said = shard_compute(shard=shard, progress=lambda share: None, now=now)
        if "answer" in said:
            runs.run_done(shard=shard, answer=Answer(**said["answer"]), now=now)
        else:
            # What a worker reads from the process of the shard.
            runs.shard_done(shard=shard, result=json.loads(json.dumps(said["result"])), now=now)
    return count


@cache
def schema() -> Any:
    return SchemaGenerator().get_schema(request=None, public=True)


def held_to_schema(body: Any, path: str, status: str = "200", method: str = "get") -> None:
    document = schema()
    answer = document["paths"][path][method]["responses"][status]
    shape = answer["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator(
        {**shape, "components": document["components"]},
        format_checker=jsonschema.FormatChecker(),
    ).validate(body)


@pytest.fixture
def drawn() -> None:
    """The figures of pages are drawn, which is two fifths of what a verdict here costs."""


@pytest.fixture
def short(
    sample: Feed, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> dict[str, Any]:
    """A reference to 2,000 stored candles; the lab computes as little as it may."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(Figure, "savefig", lambda figure, out, **_: out.write("<svg></svg>"))
    monkeypatch.setattr(evidence, "_NULLS", {"walk": 3})
    monkeypatch.setattr(evidence, "_GATE_S", 0.0)
    monkeypatch.setattr(pieces, "_CELLS_A_PIECE", 2_000 * 10)
    monkeypatch.setattr(pieces, "_BARS_A_PIECE", 2_000 * 3)
    return {"instrument": "EUR_USD", "granularity": "H1"}


EVIDENCE = {"rules": [RULE], "surrogates": 25}


def test_a_verdict_is_asked_for_computed_in_pieces_and_answered(
    api: Any, short: dict[str, Any], drawn: None, valkey: Any
) -> None:
    response = ask(api, "evidence", {"data": short, **EVIDENCE})
    assert response.status_code == 202, response.content
    held_to_schema(response.json(), "/api/evidence", "202", "post")
    # The causality gate, 25 worlds in pieces of at most 10, 3 walks in one, and the report.
    assert RunShard.objects.count() == 1 + 3 + 1 + 1
    assert work(5) == 5
    run = Run.objects.get()
    assert run.state == "RUNNING"
    assert run.progress == pytest.approx(5 / 6)
    assert work() == 1

    address = response.json()["id"]
    body = api.get(f"/api/runs/{address}").json()
    held_to_schema(body, "/api/runs/{run_id}")
    assert (body["state"], body["edge"]) == ("DONE", False)
    assert body["result_text"] == "No evidence of edge after costs."
    assert [section["name"] for section in body["sections"]] == [
        "provenance", "causality", "controls", "direction", "money", "capacity", "selection",
        "metrics", "verdict",
    ]  # fmt: skip
    assert body["shards"] == {
        "total": 6, "done": 6, "running": 0, "waiting": 0, "failed": 0, "tried_again": 0,
    }  # fmt: skip
    document = api.get(f"/api/runs/{address}/document")
    assert json.loads(document.content)["verdict"]["text"] == body["result_text"]
    page = api.get(f"/api/runs/{address}/page")
    assert page["Content-Type"].startswith("text/html")
    assert page["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert b"Negative controls" in page.content
    events = EventLog.objects.filter(stream="runs").order_by("seq")
    assert [event.data["state"] for event in events][-1] == "DONE"
    listed = api.get("/api/runs").json()
    held_to_schema(listed, "/api/runs")
    assert events.last().data == listed["results"][0]


def test_pieces_and_one_process_find_the_same(api: Any, short: dict[str, Any], valkey: Any) -> None:
    ask(api, "evidence", {"data": short, **EVIDENCE})
    work()
    in_pieces = json.loads(Run.objects.get().result.document)

    from sep_engine.evidence import lab
    from sep_engine.evidence.market import TimedBars
    from sep_engine.evidence.settings import Count

    run = Run.objects.get()
    given = run_data.material(run.data)
    whole = lab.evaluate(
        TimedBars.of(given.bars, side=given.side),
        evidence.family_of(run.configuration),
        costs=evidence.costs_of(run.configuration, given),
        provenance=in_pieces["provenance"],
        settings=evidence.settings_of(run.configuration, seed=0),
        count=lambda sharpes: Count(1, 1),
        enough=lambda: True,
    )
    assert in_pieces["causality"] == whole.document["causality"]
    assert in_pieces["controls"] == whole.document["controls"]
    assert in_pieces["verdict"] == whole.document["verdict"]


def test_a_grid_is_judged_as_the_rules_that_it_holds(
    api: Any, short: dict[str, Any], valkey: Any
) -> None:
    body = ask(api, "evidence", {"data": short, "grid": GRID, "surrogates": 19}).json()
    assert body["name"] == "4 rules on EUR_USD"
    work()
    run = Run.objects.get()
    assert (run.state, run.error) == ("DONE", "")
    assert json.loads(run.result.document)["selection"]["trials"] == 4


def test_the_same_question_is_one_run(api: Any, short: dict[str, Any], valkey: Any) -> None:
    first = ask(api, "backtests", {"data": short, "rule": RULE})
    work()
    again = ask(api, "backtests", {"data": short, "rule": RULE}, key="key-2")
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["state"] == "DONE"
    other = ask(api, "backtests", {"data": short, "rule": RULE, "cost_pips": "0.1"}, key="key-3")
    assert other.status_code == 202
    assert Run.objects.count() == 2
    # A key stands for one question.
    reused = ask(api, "backtests", {"data": short, "rule": RULE, "cost_pips": "0.2"}, key="key-3")
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")


def test_a_backtest_of_candles_is_that_of_the_sample_they_came_from(
    api: Any, sample: Feed, valkey: Any
) -> None:
    first, last = "2017-02-01T00:00:00Z", "2017-03-01T00:00:00Z"
    data = {"instrument": "EUR_USD", "from": first, "to": last}
    body = ask(api, "backtests", {"data": data, "rule": RULE}).json()
    work()
    bars = load_sample().bars
    # Both ends belong to the range; hours in nanoseconds since 1970.
    inside = (bars.times >= 1_485_907_200 * 10**9) & (bars.times <= 1_488_326_400 * 10**9)
    assert body["data"]["bars"] == int(inside.sum()) > 400
    given = run_data.material({**Run.objects.get().data})
    assert given.bars.close_ticks.tolist() == bars.close_ticks[inside].tolist()
    assert given.side == "ask"
    document = json.loads(Run.objects.get().result.document)
    # 1.3 pips are 13 ticks, as the sample assumes.
    assert document["costs"]["spread_ticks"] == 13
    assert document["price_side"] == "ask"


def test_a_run_reads_a_data_set_with_its_own_spread(
    api: Any, short: dict[str, Any], valkey: Any, tmp_path: Path, settings: Any
) -> None:
    settings.SEP_DATA_PATH = tmp_path
    times = 1_483_315_200 * 10**9 + np.arange(600) * 3_600 * 10**9
    closes = 1.1 + 1e-5 * (np.arange(600) * 7919 % 997)
    own = {"open": closes, "high": closes + 2e-4, "low": closes - 2e-4, "close": closes}
    save(
        BarColumns(times, own, spread=np.tile([8e-5, 12e-5], 300)),
        store=tmp_path,
        name="made-up",
        instrument="EUR_USD",
        origin=Origin("nobody", "none", "mid", "made in UTC", True, "a test"),
        tick=Decimal("0.00001"),
        pip=Decimal("0.0001"),
        calendar="always",
        now=NOW,
    )
    (listed,) = api.get("/api/data-sets").json()["data_sets"]
    held_to_schema(api.get("/api/data-sets").json(), "/api/data-sets")
    assert (listed["name"], listed["bars"], listed["synthetic"]) == ("made-up", 600, True)
    assert ask(api, "backtests", {"data": {"stored": "gone"}, "rule": RULE}).status_code == 400
    ask(api, "backtests", {"data": {"stored": "made-up"}, "rule": RULE})
    work()
    run = Run.objects.get()
    assert (run.state, run.name) == ("DONE", "last_bit_reversal, 4 bars, moves 16 on made-up")
    document = json.loads(run.result.document)
    # 0.8 and 1.2 pips are 8 and 12 ticks, measured bar by bar.
    assert document["costs"]["spread_ticks"] == 10
    assert document["costs"]["spread_is_series"] is True
    assert document["costs"]["assumed_spread"] is False
    assert "SYNTHETIC" in run.result.page


def test_a_sweep_ranks_every_rule_of_a_grid(api: Any, short: dict[str, Any], valkey: Any) -> None:
    response = ask(api, "sweeps", {"data": short, "grid": GRID})
    assert response.status_code == 202, response.content
    # 4 rules in pieces of at most 3, and the ranking.
    assert RunShard.objects.count() == 2 + 1
    work()
    run = Run.objects.get()
    document = json.loads(run.result.document)
    given, grid = run_data.material(short), Grid.from_json(GRID)
    nets = [
        backtest(given.bars, grid.rule(k), Costs(13), side="ask").figures.net_ticks
        for k in range(4)
    ]
    assert document["columns"]["net_ticks"] == nets
    assert document["best"][0]["number"] == nets.index(max(nets))
    assert document["best"][0]["net_ticks"] == max(nets)
    assert (document["verdict"], document["synthetic"]) == ("unproven", False)
    assert Trial.objects.count() == 4


HOURS = "mon-fri 08:00-12:00 Europe/London"


def within_hours(given: Any) -> Any:
    return TradingHours.of(HOURS).contain(given.bars.times + 3_600 * 10**9)


def test_hours_and_the_entry_are_part_of_a_backtest(
    api: Any, short: dict[str, Any], valkey: Any
) -> None:
    body = ask(
        api, "backtests", {"data": short, "rule": RULE, "session": HOURS, "entry": "close"}
    ).json()
    assert body["name"].endswith(f", entered at the close, {HOURS}")
    # Without hours it is another question, and a null is none.
    other = ask(api, "backtests", {"data": short, "rule": RULE, "session": None}, key="key-2")
    assert other.json()["id"] != body["id"]
    work()
    given, run = run_data.material(short), Run.objects.get(pk=body["id"])
    expected = backtest(
        given.bars,
        Rule.from_json(RULE),
        Costs(13),
        side="ask",
        entry="close",
        counts=within_hours(given),
    )
    document = json.loads(run.result.document)
    assert document["figures"]["net_ticks"] == expected.figures.net_ticks
    assert document["figures"]["signals"] == int(np.count_nonzero(expected.directions)) > 0
    assert (document["session"], document["entry"]) == (HOURS, "close")
    assert (document["verdict"], document["synthetic"]) == ("unproven", False)
    assert HOURS in run.result.page
    tried = [json.loads(trial.configuration) for trial in Trial.objects.order_by("seq")]
    assert {one.get("session") for one in tried} == {HOURS, None}
    assert {one.get("entry") for one in tried} == {"close", None}


def test_hours_are_part_of_a_sweep(api: Any, short: dict[str, Any], valkey: Any) -> None:
    assert ask(api, "sweeps", {"data": short, "grid": GRID, "session": HOURS}).status_code == 202
    work()
    given, grid = run_data.material(short), Grid.from_json(GRID)
    document = json.loads(Run.objects.get().result.document)
    nets = [
        backtest(
            given.bars, grid.rule(k), Costs(13), side="ask", counts=within_hours(given)
        ).figures.net_ticks
        for k in range(4)
    ]
    assert document["columns"]["net_ticks"] == nets
    assert document["session"] == HOURS
    assert all(json.loads(one.configuration)["session"] == HOURS for one in Trial.objects.all())


def test_hours_and_the_entry_are_part_of_evidence(
    api: Any, short: dict[str, Any], valkey: Any
) -> None:
    asked = {"data": short, **EVIDENCE, "session": HOURS, "entry": "close"}
    assert ask(api, "evidence", asked).status_code == 202
    work()
    run = Run.objects.get()
    assert run.state == "DONE", run.error
    document = json.loads(run.result.document)
    (rule,) = document["rules"]
    assert (rule["configuration"]["session"], rule["configuration"]["entry"]) == (HOURS, "close")
    assert (document["best"]["entry"], document["costs"]["side"]) == ("close", "ask")
    assert document["causality"]["passed"]
    assert OUT_OF_SAMPLE.keys() <= {one["name"] for one in run.summary["figures"]}
    given = run_data.material(short)
    alone = backtest(
        given.bars,
        Rule.from_json(RULE),
        Costs(13),
        side="ask",
        entry="close",
        counts=within_hours(given),
    )
    assert rule["trades"] == alone.figures.trades > 0
    # The sample's candles keep its volumes, of which nobody says what they count.
    assert document["money"]["capacity"]["volume"] == "unknown"
    assert document["money"]["capacity"]["volume_of_all"] > 0


def test_hours_in_which_no_bar_ends_are_refused(api: Any, short: dict[str, Any]) -> None:
    asked = {"data": short, "rule": RULE, "session": "sat 08:00-12:00 UTC"}
    refused = ask(api, "backtests", asked)
    assert refused.status_code == 400
    said = refused.json()["fields"]["data"]
    assert said == ["no bar of EUR_USD ends within sat 08:00-12:00 UTC"]
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        ("evidence", {"rules": [{**RULE, "window": 4}]}, "rules.0.window"),
        (
            "evidence",
            {"rules": [RULE, {**RULE, "gates": [{"metric": "x", "percentile": [0, 1]}]}]},
            "rules.1.gates.0.metric",
        ),
        ("evidence", {"rules": [RULE, RULE]}, "rules"),
        ("evidence", {"surrogates": 3}, "surrogates"),
        ("evidence", {"spread_pips": "-1"}, "spread_pips"),
        ("evidence", {"data": {"sample": "nowhere"}}, "data"),
        ("evidence", {"data": {"sample": "eur_usd_h1", "instrument": "EUR_USD"}}, "data"),
        ("evidence", {"data": {"instrument": "XXX_YYY"}}, "data"),
        ("backtests", {"rule": {**RULE, "units": 5}}, "rule.units"),
        ("backtests", {"spread_pips": "1.33333"}, "data"),
        ("backtests", {"colour": "red"}, "colour"),
        ("evidence", {"grid": GRID, "entry": "close"}, "entry"),
        ("evidence", {"session": "always"}, "session"),
        ("backtests", {"session": "mon-fri 08:00-17:00 Nowhere"}, "session"),
        ("backtests", {"entry": "noon"}, "entry"),
        ("evidence", {"grid": GRID, "rules": [RULE]}, "grid"),
        ("sweeps", {}, "grid"),
        ("sweeps", {"grid": {**GRID, "window": [16, 3]}}, "grid.window"),
    ],
)
def test_what_is_wrong_is_told_at_its_path(
    kind: str, body: dict[str, Any], field: str, api: Any, sample: Feed
) -> None:
    response = ask(api, kind, body)
    assert response.status_code == 400
    assert field in response.json()["fields"], response.json()
    assert not Run.objects.exists()


def test_a_run_needs_a_key(api: Any, sample: Feed) -> None:
    response = api.post("/api/backtests", {}, format="json")
    assert response.status_code == 400
    assert "Idempotency-Key" in response.json()["fields"]


def test_a_shard_has_one_holder_until_its_lease_ends(
    api: Any, short: dict[str, Any], valkey: Any
) -> None:
    ask(api, "backtests", {"data": short, "rule": RULE})
    lost = runs.shard_claim(holder="one", now=NOW)
    assert lost is not None
    assert runs.shard_claim(holder="two", now=NOW + timedelta(seconds=29)) is None
    # The first worker has died: 30 s without a word.
    late = NOW + timedelta(seconds=31)
    assert runs.shard_renew(shard=lost, progress=0.5, now=NOW)
    taken = runs.shard_claim(holder="two", now=late)
    assert taken is not None
    assert (taken.pk, taken.attempts, taken.holder) == (lost.pk, 2, "two")
    # It was not dead after all: nothing of it counts now.
    assert not runs.shard_renew(shard=lost, progress=0.9, now=late)
    answer = Answer("{}", "", None, "of a ghost", {})
    assert not runs.run_done(shard=lost, answer=answer, now=late)
    said = shard_compute(shard=taken, progress=lambda share: None, now=late)
    assert runs.run_done(shard=taken, answer=Answer(**said["answer"]), now=late)
    assert "of a ghost" not in Run.objects.get().result_text
    assert not runs.run_done(shard=taken, answer=answer, now=late)


def test_a_shard_that_outlives_three_workers_fails_its_run(
    api: Any, short: dict[str, Any], valkey: Any
) -> None:
    ask(api, "backtests", {"data": short, "rule": RULE})
    for minute in range(3):
        assert runs.shard_claim(holder="x", now=NOW + timedelta(minutes=minute)) is not None
    assert runs.shard_claim(holder="x", now=NOW + timedelta(minutes=3)) is None
    run = Run.objects.get()
    assert run.state == "FAILED"
    assert run.error == "its worker died 3 times; the log may say of what"
    # Asked for again it begins again.
    again = ask(api, "backtests", {"data": short, "rule": RULE}, key="key-2")
    assert (again.status_code, again.json()["state"]) == (202, "QUEUED")
    work()
    assert Run.objects.get().state == "DONE"


def test_a_shard_that_cannot_be_done_says_why(api: Any, short: dict[str, Any], valkey: Any) -> None:
    ask(api, "backtests", {"data": short, "rule": RULE})
    shard = runs.shard_claim(holder="one", now=NOW)
    assert shard is not None
    newest = Candle.objects.order_by("-start").first()
    assert newest is not None
    Candle.objects.filter(pk=newest.pk).update(close=newest.low)
    with pytest.raises(DataError, match="the stored candles have changed") as error:
        shard_compute(shard=shard, progress=lambda share: None, now=NOW)
    runs.shard_fail(shard=shard, error=str(error.value), now=NOW)
    body = api.get("/api/runs").json()["results"][0]
    assert (body["state"], body["error"]) == ("FAILED", str(error.value))


def test_candles_that_come_later_change_no_run(
    api: Any, short: dict[str, Any], valkey: Any
) -> None:
    ask(api, "backtests", {"data": short, "rule": RULE})
    newest = Candle.objects.order_by("-start").first()
    assert newest is not None
    newest.pk, newest.start = None, newest.start + timedelta(hours=1)
    newest.save(force_insert=True)
    work()
    assert Run.objects.get().state == "DONE"


def test_a_cancelled_run_stops_and_keeps_what_was_found(
    api: Any, short: dict[str, Any], valkey: Any
) -> None:
    address = ask(api, "evidence", {"data": short, **EVIDENCE}).json()["id"]
    work(1)
    running = runs.shard_claim(holder="one", now=NOW)
    assert running is not None
    assert api.post(f"/api/runs/{address}/cancel").json()["state"] == "CANCELLED"
    assert not runs.shard_renew(shard=running, progress=0.5, now=NOW)
    assert runs.shard_claim(holder="one", now=NOW) is None
    assert api.post(f"/api/runs/{address}/cancel").status_code == 409
    ask(api, "evidence", {"data": short, **EVIDENCE}, key="key-2")
    # 6 shards, of which one was done before.
    assert work() == 5


def test_a_deleted_run_leaves_its_trials_in_the_ledger(
    api: Any, short: dict[str, Any], valkey: Any
) -> None:
    address = ask(api, "backtests", {"data": short, "rule": RULE}).json()["id"]
    work()
    assert api.delete(f"/api/runs/{address}").status_code == 204
    assert api.get(f"/api/runs/{address}").status_code == 404
    assert Trial.objects.count() == 1
    assert EventLog.objects.filter(stream="runs").order_by("seq").last().type == "run_deleted"  # type: ignore[union-attr]


def test_the_ledger_counts_what_was_ever_tried_on_the_same_bars(
    api: Any, short: dict[str, Any], valkey: Any
) -> None:
    ask(api, "sweeps", {"data": short, "grid": GRID})
    work()
    ask(api, "evidence", {"data": short, **EVIDENCE}, key="key-2")
    work()
    verdict = Run.objects.get(kind="evidence")
    chosen = json.loads(verdict.result.document)["selection"]
    # 4 of the grid; the judged rule, of window 16 and 4 bars, is one of them.
    assert (chosen["trials"], chosen["look"]) == (4, 2)
    assert [row.tried_by for row in Trial.objects.all()] == ["alice"] * 5
    assert trials.trials_verify() == 5


def let_trials_be_edited() -> None:
    """Take the triggers away that keep the ledger's rows as they are."""
    from django.db import connection

    from webapp.trading.triggers import TRIAL_RULES, drop_statements

    with connection.cursor() as cursor:
        for statement in drop_statements(connection.vendor, TRIAL_RULES):
            cursor.execute(statement)


def test_a_ledger_that_was_edited_behind_its_triggers_is_noticed(
    api: Any, short: dict[str, Any], valkey: Any
) -> None:
    ask(api, "sweeps", {"data": short, "grid": GRID})
    work()
    let_trials_be_edited()
    Trial.objects.filter(seq=2).update(sharpe=9.0)
    with pytest.raises(DataError, match="broken at row 2"):
        trials.trials_verify()


def test_runs_stand_side_by_side(api: Any, short: dict[str, Any], valkey: Any) -> None:
    ids = [
        ask(api, "backtests", {"data": short, "rule": RULE, "cost_pips": cost}, key=cost).json()[
            "id"
        ]
        for cost in ("0", "1")
    ]
    work()
    body = api.get(f"/api/runs/compare?ids={','.join(ids)}").json()
    held_to_schema(body, "/api/runs/compare")
    rows = {row["name"]: row["values"] for row in body["figures"]}
    trades, net = rows["trades"], rows["net"]
    assert trades[0] == trades[1] > 0
    # One pip a side is two pips a trade.
    assert net[0] - net[1] == pytest.approx(2 * trades[0])
    assert api.get(f"/api/runs/compare?ids={ids[0]}").status_code == 400


def test_the_queue_is_bounded(
    api: Any, short: dict[str, Any], valkey: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "OPEN_MAX", 1)
    ask(api, "backtests", {"data": short, "rule": RULE})
    full = ask(api, "backtests", {"data": short, "rule": RULE, "cost_pips": "1"}, key="key-2")
    assert full.status_code == 429


def test_without_a_broker_a_run_waits_for_one(
    api: Any, short: dict[str, Any], django_capture_on_commit_callbacks: Any
) -> None:
    # No fixture has started Valkey for this test's address, or it may be up: the row is there.
    with django_capture_on_commit_callbacks(execute=True):
        assert ask(api, "backtests", {"data": short, "rule": RULE}).status_code == 202
    assert Run.objects.get().state == "QUEUED"
    assert work() == 1


UNJUDGED = "no verdict on this rule since it, or what it costs, changed"


def strategy_on(account_kind: str) -> Strategy:
    strategy = Strategy.objects.select_related("account").get()
    strategy.account.kind = account_kind
    strategy.account.save()
    return strategy


@pytest.fixture
def judged(short: dict[str, Any]) -> Strategy:
    """A strategy with a rule that has a short window."""
    strategy = Strategy.objects.get()
    strategy.rule = {**strategy.rule, "window": 16}
    strategy.save()
    return strategy


def verdict_on(
    api: Any, strategy: Strategy, *, edge: bool, key: str = "key-1", summary: Any = None
) -> Run:
    """A finished verdict; `edge` and `summary` stand for what the lab would say."""
    body = ask(api, "evidence", {"strategy": strategy.pk}, key=key)
    assert body.status_code == 202, body.content
    run = Run.objects.get(pk=body.json()["id"])
    last = run.shards.order_by("-number")[0]
    run.shards.exclude(pk=last.pk).update(state="DONE", result="{}")
    shard = runs.shard_claim(holder="lab", now=run.created_at)
    assert shard is not None
    answer = Answer("{}", "", edge, "a verdict", summary or {})
    assert runs.run_done(shard=shard, answer=answer, now=run.created_at)
    return run


def test_a_verdict_stands_beside_the_strategy_until_it_changes(
    api: Any, judged: Strategy, valkey: Any
) -> None:
    from webapp.trading.services.live_gate import strategy_changed

    assert api.get("/api/status").json()["strategy"]["verdict"] == "unproven"
    run = verdict_on(api, judged, edge=False)
    shown = api.get("/api/status").json()["strategy"]
    assert (shown["verdict"], shown["verdict_text"]) == (
        "no edge", f"No evidence of edge (run {run.pk[:12]}).",
    )  # fmt: skip
    # The verdict in force cannot be taken away.
    assert api.delete(f"/api/runs/{run.pk}").status_code == 409
    judged.rule = {**judged.rule, "horizon_bars": 5}
    strategy_changed(strategy=judged, now=datetime.now(UTC))
    judged.save()
    assert api.get("/api/status").json()["strategy"]["verdict"] == "unproven"


def test_a_verdict_says_how_often_calls_hit_out_of_sample(
    api: Any, judged: Strategy, valkey: Any
) -> None:
    shares = zip(OUT_OF_SAMPLE, (0.5214, 0.4799, 0.5628), strict=True)
    summary = {"figures": [{"name": name, "value": value} for name, value in shares]}
    run = verdict_on(api, judged, edge=True, summary=summary)
    assert api.get("/api/status").json()["strategy"]["verdict_text"] == (
        f"Passed: a verdict (run {run.pk[:12]}). Out of sample 52.1 % [48.0, 56.3] of its calls "
        "hit."
    )
    summary["figures"][1]["value"] = None  # too few days for an interval
    Run.objects.update(summary=summary)
    text = api.get("/api/status").json()["strategy"]["verdict_text"]
    assert text == f"Passed: a verdict (run {run.pk[:12]})."


def test_a_live_account_needs_a_passing_verdict_newer_than_the_last_change(
    api: Any, judged: Strategy, valkey: Any
) -> None:
    from webapp.trading.services.live_gate import strategy_changed

    def answer() -> tuple[bool, str]:
        found = may_trade_live(Strategy.objects.get(), datetime.now(UTC))
        return found.allowed, found.reason

    assert answer() == (True, "a paper account")
    strategy_on("oanda-live")
    assert answer() == (False, UNJUDGED)
    failed = verdict_on(api, judged, edge=False)
    assert answer() == (False, f"no evidence of edge in run {failed.pk[:12]}")
    Run.objects.update(edge=True)
    assert answer() == (True, f"passed in run {failed.pk[:12]}")
    # Changed to and fro: what was judged before the change is not what trades after it.
    strategy_changed(strategy=Strategy.objects.get(), now=datetime.now(UTC))
    assert answer() == (False, UNJUDGED)


def test_a_verdict_at_other_costs_is_none_and_keeps_its_place(
    api: Any, judged: Strategy, valkey: Any
) -> None:
    def answer() -> str:
        return may_trade_live(Strategy.objects.get(), datetime.now(UTC)).reason

    def costs(pips: str) -> None:
        Feed.objects.update(assumed_spread_pips=Decimal(pips))

    strategy_on("oanda-live")
    costs("0.1")
    cheap = verdict_on(api, judged, edge=True)
    assert answer() == f"passed in run {cheap.pk[:12]}"
    costs("1.3")
    assert answer() == UNJUDGED
    assert api.get("/api/status").json()["strategy"]["verdict"] == "unproven"
    costs("0.1")
    # The same costs and other bars: judged again, and found wanting.
    Candle.objects.order_by("-start")[0].delete()
    dear = verdict_on(api, judged, edge=False, key="key-2")
    assert answer() == f"no evidence of edge in run {dear.pk[:12]}"
    costs("1.3")
    # Costs for a moment do not let the newest verdict be deleted, so that an older one counts.
    assert api.delete(f"/api/runs/{dear.pk}").status_code == 409


def test_a_look_at_candles_that_have_grown_is_not_the_first(
    api: Any, short: dict[str, Any], valkey: Any
) -> None:
    newest = Candle.objects.order_by("-start")[0]
    newest.delete()
    ask(api, "evidence", {"data": short, **EVIDENCE})
    work()
    newest.save(force_insert=True)
    other = {**RULE, "horizon_bars": 5}
    ask(api, "evidence", {"data": short, **EVIDENCE, "rules": [other]}, key="key-2")
    work()
    first, second = Run.objects.order_by("created_at")
    assert first.data_sha256 != second.data_sha256
    chosen = json.loads(second.result.document)["selection"]
    assert (chosen["trials"], chosen["look"]) == (2, 2)


def test_a_verdict_needs_a_ledger_that_nobody_edited(
    api: Any, short: dict[str, Any], valkey: Any
) -> None:
    ask(api, "sweeps", {"data": short, "grid": GRID})
    work()
    let_trials_be_edited()
    Trial.objects.filter(seq=2).delete()
    ask(api, "evidence", {"data": short, **EVIDENCE}, key="key-2")
    with pytest.raises(DataError, match="broken at row 3, expected row 2"):
        work()


def test_a_person_may_override_with_a_reason_that_is_kept(
    api: Any, judged: Strategy, valkey: Any
) -> None:
    strategy = strategy_on("oanda-live")
    path = f"/api/strategies/{strategy.pk}/live-gate"
    held_to_schema(api.get(path).json(), "/api/strategies/{strategy_id}/live-gate")
    wrong = api.post(path, {"reason": "a test of fills", "confirmation": "yes"}, format="json")
    assert (wrong.status_code, list(wrong.json()["fields"])) == (400, ["confirmation"])
    empty = api.post(path, {"reason": " ", "confirmation": strategy.name}, format="json")
    assert empty.status_code == 400
    made = api.post(
        path, {"reason": "a test of fills", "confirmation": strategy.name}, format="json"
    )
    assert made.status_code == 201
    gate = api.get(path).json()
    assert (gate["allowed"], gate["reason"]) == (True, "override by alice: a test of fills")
    assert gate["in_force"] == made.json()["id"]
    event = EventLog.objects.get(stream="audit")
    assert (event.type, event.data["reason"]) == ("live_override", "a test of fills")
    withdrawn = api.delete(path).json()
    assert (withdrawn["allowed"], withdrawn["in_force"]) == (False, None)
    assert withdrawn["overrides"][0]["withdrawn_by"] == "alice"
    assert EventLog.objects.filter(stream="audit").count() == 2


def test_a_strategy_is_judged_as_it_trades(api: Any, judged: Strategy, valkey: Any) -> None:
    for more in ({"spread_pips": "0"}, {"surrogates": 19}, {"synthetic": True},
                 {"session": HOURS}, {"entry": "close"}, {"seed": 1}, {"folds": 4},
                 {"data": {"instrument": "EUR_USD", "from": "2017-02-01T00:00:00Z"}},
                 {"data": {"sample": "eur_usd_h1"}}, {"data": {"stored": "planted"}},
                 {"data": {"instrument": "USD_JPY"}}):  # fmt: skip
        response = ask(api, "evidence", {"strategy": judged.pk, **more})
        assert response.status_code == 400, more
    body = ask(api, "evidence", {"strategy": judged.pk}).json()
    assert body["data"]["instrument"] == "EUR_USD"
    assert body["data"]["bars"] == 2000
    assert body["strategy"] == {"id": judged.pk, "name": judged.name}
    assert Run.objects.get().configuration["rules"] == [judged.rule]
    assert Decimal(Run.objects.get().configuration["surrogates"]) == 200


def test_a_strategy_is_judged_within_its_hours(api: Any, judged: Strategy, valkey: Any) -> None:
    always = ask(api, "evidence", {"strategy": judged.pk}).json()["id"]
    before = strategy_sha256(judged)
    judged.session = HOURS
    judged.save()
    within = ask(api, "evidence", {"strategy": judged.pk}, key="key-2").json()["id"]
    assert within != always
    assert "session" not in Run.objects.get(pk=always).configuration
    assert Run.objects.get(pk=within).configuration["session"] == HOURS
    # Another verdict is needed: what was judged before trades at other times.
    assert strategy_sha256(judged) != before
    assert api.get("/api/status").json()["strategy"]["session"] == HOURS


def test_hours_of_a_strategy_are_set_over_the_api(api: Any, judged: Strategy, valkey: Any) -> None:
    verdict_on(api, judged, edge=True)
    path = f"/api/strategies/{judged.pk}/session"
    wrong = api.put(path, {"session": "after lunch"}, format="json")
    assert (wrong.status_code, list(wrong.json()["fields"])) == (400, ["session"])
    assert api.get("/api/status").json()["strategy"]["verdict"] == "passed"
    made = api.put(path, {"session": HOURS}, format="json")
    held_to_schema(made.json(), "/api/strategies/{strategy_id}/session", method="put")
    # What was judged entered at any time.
    assert (made.json()["session"], made.json()["verdict"]) == (HOURS, "unproven")
    assert api.put(path, {"session": HOURS}, format="json").status_code == 200
    assert api.put(path, {"session": ""}, format="json").json()["session"] == ""
    told = EventLog.objects.filter(stream="audit", type="strategy_session").order_by("seq")
    assert [(event.data["before"], event.data["after"]) for event in told] == [
        ("", HOURS), (HOURS, ""),
    ]  # fmt: skip
    assert told[0].data["changed_by"] == "alice"


def test_candles_of_a_venue_are_taken_to_cost_their_median_spread(sample: Feed) -> None:
    def bar(number: int, ticks: int) -> QuoteBar:
        made = load_sample("eur_usd_h1").quote_bars()[number]
        spread = Decimal(ticks) / 100_000
        prices = {side: getattr(made.bid, side) + spread for side in ("open", "high", "low")}
        return replace(made, ask=replace(made.ask, **prices, close=made.bid.close + spread))

    Feed.objects.update(assumed_spread_pips=0)
    feed = Feed.objects.get()
    bars = [bar(number, ticks) for number, ticks in enumerate((10, 15, 14))]
    feeds.store_live_history(feed, bars, now=NOW)
    # The middle one of 10, 14 and 15 ticks of 0.1 pips.
    assert Feed.objects.get().assumed_spread_pips == Decimal("1.4")
    # Later bars change nothing: a verdict holds for the costs that it was passed at.
    feeds.store_live_history(feed, [bar(3, 30)], now=NOW)
    assert Feed.objects.get().assumed_spread_pips == Decimal("1.4")
