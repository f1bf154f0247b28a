"""The summary of `make test` counts what ran and never takes silence for success."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import run_tests

REPORT = """<testsuites><testsuite>
  <testcase classname="a" name="adds"/>
  <testcase classname="a" name="subtracts"><failure message="1 != 2"/></testcase>
  <testcase classname="a" name="opens"><error message="no file"/></testcase>
  <testcase classname="gpu" name="runs"><skipped message="no CUDA device"/></testcase>
  <testcase classname="gpu" name="runs_twice"><skipped message="no CUDA device"/></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "report.xml"


def test_a_report_is_counted_and_skips_are_named_once_by_reason(report: Path) -> None:
    report.write_text(REPORT)
    outcome = run_tests.read_report("a", report, succeeded=False)
    assert (outcome.passed, outcome.failed, outcome.skipped) == (1, 2, 2)
    assert outcome.reasons == (
        "failed: a.subtracts",
        "failed: a.opens",
        "skipped 2: no CUDA device",
    )


def test_a_suite_without_tests_has_failed(report: Path) -> None:
    report.write_text("<testsuites><testsuite/></testsuites>")
    outcome = run_tests.read_report("a", report, succeeded=True)
    assert (outcome.failed, outcome.reasons) == (1, ("no test was found",))


def test_a_suite_that_ends_badly_with_no_failed_test_has_failed(report: Path) -> None:
    report.write_text('<testsuite><testcase classname="a" name="adds"/></testsuite>')
    outcome = run_tests.read_report("a", report, succeeded=False)
    assert (outcome.passed, outcome.failed) == (1, 1)


def test_a_suite_that_leaves_no_report_has_failed(
    report: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run_tests, "LOG", tmp_path)
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    outcome = run_tests.run_suite("a", ["true"], report=report, timeout_s=10)
    assert (outcome.failed, outcome.reasons) == (1, ("ended without a report",))


def test_a_command_that_takes_too_long_is_stopped_and_has_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run_tests, "LOG", tmp_path)
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    assert not run_tests.run("slow", ["sleep", "60"], timeout_s=1, env={})
    assert "took more than 1 s" in (tmp_path / "slow.log").read_text()


def test_steps_run_beside_each_other_and_all_of_them_when_one_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run_tests, "LOG", tmp_path)
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    # The first two end only when the other has begun, so one lane would fail them both.
    meets = "touch {0}; for _ in $(seq 500); do test -e {1} && exit 0; sleep 0.1; done; exit 1"
    steps = [
        run_tests.Step("left", ("sh", "-c", meets.format("l", "r"))),
        run_tests.Step("right", ("sh", "-c", meets.format("r", "l"))),
        run_tests.Step("fails", ("false",)),
        run_tests.Step("last", ("true",)),
    ]
    outcome = run_tests.run_steps("lint", steps, timeout_s=60, at_once=2)
    assert (outcome.passed, outcome.failed, outcome.reasons) == (3, 1, ("fails",))


def test_parts_run_as_many_at_a_time_as_is_said_and_are_told_of_in_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Both of the first pair wait until the other has begun; the third begins after one of them.
    meeting = threading.Barrier(2, timeout=60)
    at_work: list[str] = []
    most = []

    def part(name: str, *, meets: bool) -> run_tests.Outcome:
        at_work.append(name)
        most.append(len(at_work))
        if meets:
            meeting.wait()
        at_work.remove(name)
        return run_tests.Outcome(name, passed=1)

    parts = {
        "left": lambda: part("left", meets=True),
        "right": lambda: part("right", meets=True),
        "last": lambda: part("last", meets=False),
    }
    monkeypatch.setattr(run_tests, "PARTS", parts)
    monkeypatch.setattr(run_tests, "PARTS_AT_ONCE", 2)
    outcomes = run_tests.run_parts(["left", "right", "last"])
    assert [outcome.part for outcome in outcomes] == ["left", "right", "last"]
    assert max(most) == 2


def test_an_interrupt_ends_what_still_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run_tests, "LOG", tmp_path)
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    # Who starts the tests in the background may have them ignore SIGINT, and all they start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    begun = tmp_path / "begun"
    asked = tmp_path / "asked"
    shell = f"trap 'touch {asked}; exit 1' INT; touch {begun}; while :; do sleep 0.1; done"

    def interrupt_once_begun() -> None:
        while not begun.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_once_begun).start()
    steps = [
        run_tests.Step("long", ("sh", "-c", shell)),
        run_tests.Step("next", ("touch", tmp_path / "next")),
    ]
    parts = {"lint": lambda: run_tests.run_steps("lint", steps, timeout_s=50)}
    monkeypatch.setattr(run_tests, "PARTS", parts)
    monkeypatch.setattr(run_tests, "stopping", threading.Event())
    with pytest.raises(KeyboardInterrupt):
        run_tests.run_parts(["lint"])
    signal.signal(signal.SIGINT, before)
    assert asked.exists()
    assert not (tmp_path / "next").exists()
