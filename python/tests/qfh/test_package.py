"""What `import sep_engine` gives and costs."""

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import sep_engine
from sep_engine import backtest, data, qfh, signals


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


def test_the_module_and_the_wheel_have_one_version() -> None:
    assert sep_engine.__version__ == version("sep-engine")


def test_importing_it_brings_in_neither_django_nor_plots_nor_network() -> None:
    loaded = run("import sep_engine, sys; print(*sys.modules)").split()
    for heavy in ("django", "matplotlib", "pyarrow", "rich", "typer", "asyncio", "http", "ssl"):
        assert heavy not in loaded


def test_backends_say_why_they_cannot_run() -> None:
    backends = {backend.name: backend for backend in sep_engine.backends()}
    assert backends["scalar"].available
    assert backends["cuda"].detail


def test_without_a_visible_gpu_it_imports_and_works() -> None:
    code = (
        "import os; os.environ['CUDA_VISIBLE_DEVICES'] = '';"
        "import numpy as np; import sep_engine; from sep_engine import qfh;"
        "qfh.rolling_bits(np.zeros(64, dtype=np.uint8));"
        "print({b.name: b.available for b in sep_engine.backends()}['cuda'])"
    )
    assert run(code) == "False"


def test_everything_public_says_what_it_is() -> None:
    silent = [
        f"{module.__name__}.{name}"
        for module in (sep_engine, qfh, qfh.legacy, backtest)
        for name in module.__all__
        for thing in [getattr(module, name)]
        if (inspect.isclass(thing) or inspect.isroutine(thing)) and not inspect.getdoc(thing)
    ]
    assert silent == []
    for kind in (qfh.Stream, qfh.StreamMetrics, type(qfh.coin_distribution("entropy", 8))):
        for name, member in vars(kind).items():
            assert name.startswith("_") or inspect.getdoc(member), f"{kind.__name__}.{name}"


MODULES = (sep_engine, qfh, qfh.legacy, backtest, data, signals)


def public() -> Iterator[tuple[str, Any, str]]:
    """Every public function, class and method, by name, with what its docstring says."""
    for module in MODULES:
        for name in module.__all__:
            thing = getattr(module, name)
            if not (inspect.isclass(thing) or inspect.isroutine(thing)):
                continue
            yield f"{module.__name__}.{name}", thing, inspect.getdoc(thing) or ""
            members = vars(thing).items() if inspect.isclass(thing) else ()
            for key, member in members:
                member = getattr(member, "__func__", member)
                if inspect.isroutine(member) and not key.startswith("_"):
                    yield f"{module.__name__}.{name}.{key}", member, inspect.getdoc(member) or ""


def test_everything_public_says_what_its_arguments_are() -> None:
    """In its own docstring, or in that of what it names: "arguments ... are those of `rolling`"."""
    texts = {name.rpartition(".")[2]: text for name, _, text in public()}
    checked, silent = 0, []
    for name, thing, text in public():
        told = text
        while refers := re.findall(r"are those of `(\w+)`", text):
            text = " ".join(texts[other] for other in refers)
            told += text
        try:
            arguments = inspect.signature(thing).parameters
        except (TypeError, ValueError):  # of a class that is made elsewhere
            continue
        # Nobody makes these but the engine, and a member of an enumeration is looked up.
        made_here = name.endswith("RollingMetrics") or thing is backtest.ExitReason
        for argument in arguments:
            if argument not in ("self", "cls") and not made_here:
                checked += 1
                silent += [f"{name}: {argument}"] * (not re.search(rf"\b{argument}\b", told))
    assert silent == []
    assert checked > 300


def test_everything_public_that_can_be_refused_says_by_what() -> None:
    """Whoever passes prices, bars or a file must know what comes back for bad ones."""
    asked = {"prices", "bits", "bars", "path", "window", "metrics", "rules", "document"}
    silent = [
        name
        for name, thing, text in public()
        if inspect.isfunction(thing)
        and asked & set(inspect.signature(thing).parameters)
        and not re.search(r"Raises:|Error|errors", text)
    ]
    assert silent == []
