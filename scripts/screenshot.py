"""Make docs/images/dashboard.png from the running page: start SEP, let it trade, photograph it.

Usage: python -m scripts.screenshot [FOLDER]
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.stack import ROOT, running_stack

TRADES = 8
TIMEOUT_S = 180
SIZES = {"dashboard": (1440, 900), "dashboard-narrow": (390, 844)}


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="sep-screenshot-") as var,
        running_stack(Path(var)) as stack,
    ):
        login = {"username": stack.username, "password": stack.password}
        token = stack.call("auth/token", body=login)["access"]
        stack.call("feed", token, {"bars_per_second": 20})
        deadline = time.monotonic() + TIMEOUT_S
        while stack.call("performance/current", token)["trades"] < TRADES:
            if time.monotonic() > deadline:
                raise SystemExit(f"fewer than {TRADES} trades in {TIMEOUT_S} s")
            time.sleep(0.5)
        stack.call("feed", token, {"bars_per_second": 1})
        for name, (width, height) in SIZES.items():
            subprocess.run(
                ["node", "scripts/screenshot.mjs", stack.url, stack.username, stack.password,
                 folder / f"{name}.png", str(width), str(height)],
                cwd=ROOT, check=True,
            )  # fmt: skip
            print(folder / f"{name}.png")


if __name__ == "__main__":
    main()
