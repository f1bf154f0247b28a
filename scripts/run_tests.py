"""Run SEP's checks and tests part by part and end with one line for each part.

Usage: run_tests.py [PART...]

Without arguments every part runs, three beside each other: many tests wait for processes and for
time, and other parts compute meanwhile. A part that cannot run here says why by name and
counts as skipped. The last line reads "N passed, N failed, N skipped"; the exit status is 1 when
one failed. Outputs stay in build/log/.
"""

import argparse
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import postgres_for_tests

ROOT = Path(__file__).resolve().parents[1]
LOG = ROOT / "build" / "log"
CLIENT = ROOT / "webapp" / "dashboard" / "client"
PYTHON = sys.executable
PYTEST = (PYTHON, "-m", "pytest", "-q")
# The slowest tests come late in the alphabet: who has none left takes over the other's.
STEALING = ("--dist", "worksteal")
WORKERS = ("-n", "2")
PARTS_AT_ONCE = 3
running: set[subprocess.Popen[bytes]] = set()
# Held while a process starts: what is interrupted meanwhile knows of it or never starts it.
starting = threading.Lock()
stopping = threading.Event()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one part: counts of its tests, and why some did not run."""

    part: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: tuple[str, ...] = ()
    seconds: float = 0.0

    def line(self) -> str:
        counts = f"{self.passed:5} passed {self.failed:4} failed {self.skipped:4} skipped"
        return f"{self.part:18} {counts} {self.seconds:7.1f} s"


@dataclass(frozen=True, slots=True)
class Step:
    """A command whose exit status is the verdict; it counts as one test."""

    name: str
    command: tuple[str | Path, ...]
    env: tuple[tuple[str, str], ...] = ()


def run(name: str, command: Sequence[str | Path], *, timeout_s: int, env: dict[str, str]) -> bool:
    """Run a command quietly; True when it succeeded. A failure shows the end of its output."""
    log = LOG / f"{name}.log"
    with log.open("wb") as output:
        with starting:
            if stopping.is_set():
                return False
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                start_new_session=True,
            )
            running.add(process)
        try:
            status = process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            output.write(f"\nstopped: it took more than {timeout_s} s\n".encode())
            status = 1
        # Not when it is interrupted: `interrupt` then finds it here.
        running.discard(process)
    if status != 0 and not stopping.is_set():
        lines = log.read_text(errors="replace").splitlines()[-80:]
        end = [f"    {line}" for line in lines]
        end.append(
            f"    {name} failed (exit status {status}); all of it is in {log.relative_to(ROOT)}"
        )
        print("\n".join(end))
    return status == 0


def interrupt() -> None:
    """Let nothing more start, ask what still runs to end, as Ctrl-C does, and wait for it."""
    with starting:
        stopping.set()
        processes = tuple(running)
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
    for process in processes:
        process.wait()


def run_steps(
    part: str, steps: Sequence[Step], *, timeout_s: int = 600, at_once: int = 1
) -> Outcome:
    """Run each step, `at_once` of them beside each other; all run even when one fails."""

    def succeeds(step: Step) -> bool:
        return run(f"{part}-{step.name}", step.command, timeout_s=timeout_s, env=dict(step.env))

    with ThreadPoolExecutor(at_once) as lanes:
        results = list(lanes.map(succeeds, steps))
    failed = tuple(step.name for step, passed in zip(steps, results, strict=True) if not passed)
    return Outcome(part, passed=sum(results), failed=len(failed), reasons=failed)


def run_suite(
    part: str,
    command: Sequence[str | Path],
    *,
    report: Path,
    timeout_s: int,
    env: dict[str, str] | None = None,
) -> Outcome:
    """Run a test suite that writes a JUnit report, and count what the report holds."""
    report.unlink(missing_ok=True)
    succeeded = run(part.replace(" ", "-"), command, timeout_s=timeout_s, env=env or {})
    if not report.exists():
        return Outcome(part, failed=1, reasons=("ended without a report",))
    return read_report(part, report, succeeded=succeeded)


def read_report(part: str, report: Path, *, succeeded: bool) -> Outcome:
    """Count a JUnit report. A suite without tests, or that fails with none failed, has failed."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    broken = [
        case for case in cases if any(case.find(tag) is not None for tag in ("failure", "error"))
    ]
    skips = [case.find("skipped") for case in cases]
    reasons = Counter(skip_reason(skip) for skip in skips if skip is not None)
    failed = len(broken)
    if not cases:
        return Outcome(part, failed=1, reasons=("no test was found",))
    if not succeeded and not failed:
        return Outcome(part, passed=len(cases), failed=1, reasons=("the suite did not end well",))
    return Outcome(
        part,
        passed=len(cases) - failed - reasons.total(),
        failed=failed,
        skipped=reasons.total(),
        reasons=(
            *(f"failed: {case.get('classname')}.{case.get('name')}" for case in broken),
            *(f"skipped {count}: {reason}" for reason, count in sorted(reasons.items())),
        ),
    )


def skip_reason(skip: ElementTree.Element) -> str:
    message = skip.get("message") or (skip.text or "").strip() or "no reason was given"
    return message.splitlines()[-1]  # GoogleTest puts the place of the skip before its reason


def lint() -> Outcome:
    config = ("--config-file", "pyproject.toml")
    sources = sorted(
        path
        for pattern in ("**/*.hpp", "**/*.cpp", "**/*.cu", "**/*.cuh")
        for path in (ROOT / "cpp").glob(pattern)
    )
    # The longest come first, so that none of them runs alone at the end. Two of mypy run at once:
    # with one cache for both, one ended by an internal error.
    web, engine = "--cache-dir=.mypy_cache/web", "--cache-dir=.mypy_cache/engine"
    steps = [
        Step("mypy-web", ("mypy", web, "--config-file", "webapp/mypy.ini", "webapp")),
        Step(
            "mypy-engine",
            ("mypy", engine, *config, "python/sep_engine", "python/sep_oanda_server", "scripts"),
        ),
        Step("eslint-tsc", ("npm", "--prefix", CLIENT, "run", "lint")),
        Step("clang-format", ("clang-format", "--dry-run", "-Werror", *sources)),
        Step("import-directions", ("lint-imports", "--no-cache")),
        Step("ruff", ("ruff", "check", ".")),
        Step("ruff-format", ("ruff", "format", "--check", ".")),
        Step("conventions", (PYTHON, "scripts/check_conventions.py")),
    ]
    return run_steps("lint", steps, at_once=2)


def engine_cpp() -> Outcome:
    if not Path("/usr/include/gtest/gtest.h").exists():
        return Outcome(
            "C++", skipped=1, reasons=("GoogleTest is missing: apt install libgtest-dev",)
        )
    # The engine's own build has compiled the CUDA code; here it is needed only where it can run.
    cuda = "AUTO" if Path("/dev/nvidiactl").exists() else "OFF"
    build = run_steps(
        "C++",
        [
            Step("configure", ("cmake", "--preset", "tests", f"-DSEP_CUDA={cuda}")),
            Step("build", ("cmake", "--build", "--preset", "tests", "--parallel", "2")),
        ],
        timeout_s=900,
    )
    if build.failed:
        return build
    report = ROOT / "build" / "tests" / "report.xml"
    tests = (ROOT / "build/tests/cpp/tests/sep_tests", f"--gtest_output=xml:{report}")
    outcome = run_suite("C++", tests, report=report, timeout_s=300)
    if cuda == "OFF":
        missing = "CUDA was left out of this build: no NVIDIA GPU is here"
        outcome = replace(outcome, reasons=(*outcome.reasons, missing))
    return outcome


def engine_python() -> Outcome:
    report = LOG / "python.xml"
    # The wheel's tests run without Django, as its users do.
    command = (
        *PYTEST,
        "-p",
        "no:django",
        *WORKERS,
        *STEALING,
        f"--junitxml={report}",
        "python/tests",
    )
    return run_suite("Python", command, report=report, timeout_s=1200)


def web(part: str, env: dict[str, str], *options: str) -> Outcome:
    report = LOG / f"{part.replace(' ', '-')}.xml"
    command = (*PYTEST, *WORKERS, *STEALING, f"--junitxml={report}", *options, "webapp")
    return run_suite(part, command, report=report, timeout_s=1500, env=env)


def web_sqlite() -> Outcome:
    return web("web on SQLite", {"DATABASE_URL": ""})


def web_postgresql() -> Outcome:
    part = "web on PostgreSQL"
    binaries = postgres_for_tests.server_binaries()
    if binaries is None:
        return Outcome(part, skipped=1, reasons=("PostgreSQL is missing: apt install postgresql",))
    with postgres_for_tests.cluster(binaries) as url:
        return web(part, {"DATABASE_URL": url}, "--database-only")


def client() -> Outcome:
    report = LOG / "client.xml"
    command = (
        *("npm", "--prefix", CLIENT, "run", "test", "--"),
        *("--reporter=junit", f"--outputFile={report}"),
    )
    return run_suite("client", command, report=report, timeout_s=400)


def system() -> Outcome:
    report = LOG / "system.xml"
    # A file keeps its running SEP to itself; two of them wait beside each other.
    command = (*PYTEST, *WORKERS, "--dist", "loadfile", f"--junitxml={report}", "tests")
    return run_suite("whole system", command, report=report, timeout_s=1500)


# The longest come first, so that none of them runs alone at the end.
PARTS: dict[str, Callable[[], Outcome]] = {
    "web-sqlite": web_sqlite,
    "system": system,
    "web-postgresql": web_postgresql,
    "python": engine_python,
    "cpp": engine_cpp,
    "lint": lint,
    "client": client,
}


def run_parts(chosen: Sequence[str]) -> list[Outcome]:
    """Run the parts, `PARTS_AT_ONCE` of them beside each other; outcomes in the order chosen."""

    def timed(name: str) -> Outcome:
        print(f"{name} ...", flush=True)
        start = time.monotonic()
        outcome = replace(PARTS[name](), seconds=time.monotonic() - start)
        print(f"{name}: {outcome.seconds:.0f} s", flush=True)
        return outcome

    with ThreadPoolExecutor(PARTS_AT_ONCE) as lanes:
        try:
            return list(lanes.map(timed, chosen))
        except KeyboardInterrupt:
            lanes.shutdown(wait=False, cancel_futures=True)
            interrupt()
            raise


def main() -> int:
    parser = argparse.ArgumentParser(description="Run SEP's checks and tests.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    chosen = parser.parse_args().parts or list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"no part is named {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    LOG.mkdir(parents=True, exist_ok=True)
    # Being stopped ends what runs, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ["PATH"] = f"{Path(PYTHON).parent}{os.pathsep}{os.environ['PATH']}"
    # Without compiled modules a start of Django takes twice its time, and the tests start hundreds.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

    start = time.monotonic()
    outcomes = run_parts(chosen)
    print()
    for outcome in outcomes:
        print(outcome.line())
        for reason in outcome.reasons:
            print(f"{'':18}   {reason}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor_s = used.ru_utime + used.ru_stime
    print(f"{time.monotonic() - start:.0f} s, and {processor_s:.0f} s of processor time")
    failed = sum(outcome.failed for outcome in outcomes)
    print(
        f"{sum(outcome.passed for outcome in outcomes)} passed, {failed} failed, "
        f"{sum(outcome.skipped for outcome in outcomes)} skipped"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
