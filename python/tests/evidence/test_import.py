from __future__ import annotations

import subprocess
import sys


def test_the_engine_does_not_load_what_the_lab_needs() -> None:
    code = "import sys, sep_engine; print(sorted({'scipy', 'arch', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_lab_loads_neither_arch_nor_pandas() -> None:
    code = (
        "import sys; from sep_engine.evidence import lab, power, sixty_percent; "
        "print(sorted({'arch', 'pandas', 'statsmodels'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
