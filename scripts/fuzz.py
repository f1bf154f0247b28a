"""Build the libFuzzer programs with clang and run each for a while.

Usage: fuzz.py [SECONDS [TARGET...]]

Prints one line for each target: inputs tried, code edges reached, and what was found. What a target
learnt stays in build/fuzz/corpus; an input that breaks a promise stays in build/fuzz/found, and the
exit status is then 1.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "fuzz"
TARGETS = ("prices", "bits", "streams", "snapshot", "calibration", "sweep")
SEED_SIZES = (16, 64, 300, 1200, 3000)


def seeds(corpus: Path) -> None:
    """Fill an empty corpus with long inputs: a fuzzer that begins with none grows them slowly."""
    corpus.mkdir(parents=True, exist_ok=True)
    if not any(corpus.iterdir()):
        random = Random(5)
        for number, size in enumerate(SEED_SIZES * 6):
            (corpus / f"seed-{number}").write_bytes(random.randbytes(size))


def fuzz(target: str, seconds: int) -> bool:
    """Run one target; True when it kept all promises."""
    corpus = BUILD / "corpus" / target
    found = BUILD / "found"
    found.mkdir(parents=True, exist_ok=True)
    seeds(corpus)
    done = subprocess.run(
        (
            BUILD / "cpp" / "fuzz" / f"fuzz_{target}",
            f"-max_total_time={seconds}",
            "-max_len=4096",
            "-timeout=60",
            "-rss_limit_mb=2048",
            f"-artifact_prefix={found}/{target}-",
            corpus,
        ),
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    (BUILD / f"{target}.log").write_text(done.stderr)
    edges = re.findall(r" cov: (\d+) ", done.stderr)
    runs = re.findall(r"^(?:Done |#)(\d+)", done.stderr, re.MULTILINE)
    verdict = "kept its promises" if done.returncode == 0 else f"BROKEN: see {BUILD}/{target}.log"
    print(
        f"{target:12} {seconds:5} s {int(runs[-1]) if runs else 0:9,} inputs "
        f"{edges[-1] if edges else '0':>6} edges  {verdict}",
        flush=True,
    )
    return done.returncode == 0


def main(seconds: int, targets: tuple[str, ...]) -> int:
    if shutil.which("clang++") is None:
        print("make fuzz needs clang++ with libFuzzer: apt install clang libclang-rt-dev")
        return 1
    if unknown := set(targets) - set(TARGETS):
        print(f"targets are {', '.join(TARGETS)}; none is named {', '.join(sorted(unknown))}")
        return 2
    built = subprocess.run(
        ("cmake", "--workflow", "--preset", "fuzz"),
        cwd=ROOT,
        check=False,
        stdout=subprocess.DEVNULL,
    )
    if built.returncode != 0:
        print("the targets were not built; if libclang_rt is missing: apt install libclang-rt-dev")
        return 1
    results = [fuzz(target, seconds) for target in targets]
    return 0 if all(results) else 1


if __name__ == "__main__":
    seconds, *targets = sys.argv[1:] or ("120",)
    sys.exit(main(int(seconds), tuple(targets) or TARGETS))
