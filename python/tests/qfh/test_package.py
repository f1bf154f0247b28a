"""What `import sep_engine` gives and costs."""

import inspect
import subprocess
import sys
from importlib.metadata import version

import sep_engine
from sep_engine import backtest, qfh


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
