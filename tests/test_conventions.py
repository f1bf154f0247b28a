"""Each convention refuses what it is for and lets the neighbouring right form through."""

import check_conventions
import pytest


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("cpp/src/bits.cpp", 'printf("%d", 1);', "prints"),
        ("cpp/cuda/rolling.cu", 'std::cerr << "bad";', "prints"),
        ("cpp/src/bits.cpp", "std::abort();", "ends the process"),
        ("python/sep_engine/risk/gate.py", "now = datetime.now(UTC)", "reads no clock"),
        ("python/sep_engine/signals/rule.py", "started = time.time()", "reads no clock"),
        ("webapp/trading/orders.py", "class OrderManager:", "no single meaning"),
        ("webapp/trading/orders.py", "class QuantumState:", "no single meaning"),
        ("cpp/src/bits.cpp", "// TODO: later", "finish it"),
        ("webapp/dashboard/client/src/app/app.tsx", "/" * 101, "101 columns"),
        ("tests/browser/visit.mjs", "/" * 101, "101 columns"),
        ("package-lock.json", '"resolved": "' + "https://somewhere/a.tgz", "registry"),
        ("pip.conf", "index-url = https://somewhere/", "registry"),
        ("docs/notes.md", "see /" + "root/notes", "one machine"),
    ],
)
def test_a_broken_convention_is_found(path: str, text: str, message: str) -> None:
    found = check_conventions.findings(path, text)
    assert len(found) == 1
    assert found[0].startswith(f"{path}:1: ")
    assert message in found[0]


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("python/sep_engine/execution/fills.py", "half = 0.5", "not the float 0.5"),
        ("python/sep_engine/risk/gate.py", "def f(x: float) -> None: ...", "not float"),
        ("webapp/trading/models/orders.py", "    price = models.FloatField()", "holds money"),
        ("webapp/trading/services/orders.py", "def f(*, price: float | None): ...", "price is"),
        ("webapp/trading/trader/trader.py", "peak_equity: float = 0", "peak_equity is"),
        ("webapp/trading/brokers/paper.py", "size = float(order.units)", "order.units is"),
        ("python/sep_oanda_server/ledger.py", "x = float(self.balance)", "self.balance is"),
    ],
)
def test_d11_money_that_is_a_float_is_found(path: str, text: str, message: str) -> None:
    test_a_broken_convention_is_found(path, text, message)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("cpp/tests/bits_test.cpp", 'printf("%d", 1);'),  # tests may print
        ("cpp/src/bits.cpp", "sprint_length(1);"),
        ("python/sep_engine/venues/replay/client.py", "now = datetime.now(UTC)"),  # an edge
        ("python/sep_engine/risk/gate.py", "age = now - quote.time"),
        ("python/sep_engine/execution/fills.py", 'half = Decimal("0.5")'),
        ("python/sep_engine/backtest/run.py", "half = 0.5"),  # statistics are floats
        ("webapp/trading/trader/live.py", "def f(price_wait_s: float, price: Decimal): ..."),
        ("webapp/trading/trader/strategies.py", "tick = float(strategy.instrument.tick)"),
        ("webapp/trading/models/orders.py", "    progress = models.FloatField()"),
        ("webapp/trading/models/orders.py", "    price = models.DecimalField()"),
        ("webapp/tests/test_orders.py", "class OrderManager:"),
        ("webapp/dashboard/client/src/app/app.css", "/" * 100),
        ("docs/notes.md", "a" * 101),  # a table's row cannot be broken
        ("package-lock.json", '"integrity": "sha512-abc"'),
        ("docs/notes.md", "see framework/notes and ./" + "work/notes"),
    ],
)
def test_what_follows_the_conventions_passes(path: str, text: str) -> None:
    assert check_conventions.findings(path, text) == []
