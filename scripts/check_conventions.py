"""Check the conventions that no linter knows. Prints one line a finding; exit status 1 with any.

Each rule is a function from a path below the repository and its text to findings, and applies to
the paths that its entry in RULES names.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]

Finding = tuple[int, str]  # line, what is wrong
Rule = Callable[[str], Iterator[Finding]]

PURE = "python/sep_engine/(model|qfh|risk|execution|signals|backtest|evidence|report)/"
CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("date", "today"), ("time", "time"),
          ("time", "time_ns"), ("timezone", "now")}  # fmt: skip
MONEY = re.compile(r"price|units|amount|balance|equity|profit|loss|_pl$|spread|notional|cost")
COLUMNS = 100
VAGUE = re.compile(r"\bclass\s+(\w*(?:Manager|Helper|Utils?|Bridge|Processor)|\w*[Qq]uantum\w*)\b")


def lines_matching(text: str, pattern: re.Pattern[str], message: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), start=1):
        if found := pattern.search(line):
            yield number, message.format(found.group().strip())


def library_is_silent(text: str) -> Iterator[Finding]:
    """The C++ library never prints and never ends the process."""
    pattern = re.compile(
        r"\b(std::(cout|cerr|abort|exit|terminate)|f?printf|puts|abort|exit)\b\s*[(<]"
    )
    return lines_matching(text, pattern, "the library neither prints nor ends the process: {}")


def pure_code_reads_no_clock(text: str) -> Iterator[Finding]:
    """Pure code takes `now` as an argument."""
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name | ast.Attribute)
        ):
            owner = node.func.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr
            if (name, node.func.attr) in CLOCKS:
                yield node.lineno, f"pure code reads no clock: {name}.{node.func.attr}()"


def money_is_decimal(text: str) -> Iterator[Finding]:
    """Execution and risk know no float, neither as a type nor as a literal."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name) and node.id == "float":
            yield node.lineno, "money is Decimal here, not float"
        elif isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield node.lineno, f"money is Decimal here, not the float {node.value}"


def money_on_the_order_path_is_decimal(text: str) -> Iterator[Finding]:
    """What holds money is not annotated as a float and not made one; seconds may be."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.arg) and node.annotation is not None:
            name, holder = node.arg, node.annotation
        elif isinstance(node, ast.AnnAssign):
            name, holder = ast.unparse(node.target), node.annotation
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "float" and node.args:
            name, holder = ast.unparse(node.args[0]), node.func
        else:
            continue
        seconds = name.endswith("_s")
        if not seconds and MONEY.search(name) and re.search(r"\bfloat\b", ast.unparse(holder)):
            yield node.lineno, f"{name} is Decimal here, not float"


def columns_of_money_are_decimal(text: str) -> Iterator[Finding]:
    """No model keeps money in a FloatField."""
    for number, line in enumerate(text.splitlines(), start=1):
        name, _, value = line.partition("=")
        if "FloatField(" in value and MONEY.search(name.strip()):
            yield number, f"{name.strip()} holds money and is a FloatField"


def names_say_what_a_thing_is(text: str) -> Iterator[Finding]:
    return lines_matching(text, VAGUE, "a name that has no single meaning: {}")


def nothing_is_put_off(text: str) -> Iterator[Finding]:
    pattern = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    return lines_matching(text, pattern, "finish it or leave it out: {}")


def no_registry_is_named(text: str) -> Iterator[Finding]:
    """The machine that installs decides where packages come from."""
    pattern = re.compile(
        r'"resolved": *"https?:|\bregistry *= *"?https?:|^ *-?-?(extra-)?index-url\b|--index[ =]'
    )
    return lines_matching(text, pattern, "a package registry is named: {}")


def no_path_of_one_machine(text: str) -> Iterator[Finding]:
    pattern = re.compile(r"(?<![\w.])/(work|root|farm)/[\w.]+")
    return lines_matching(text, pattern, "a path of one machine: {}")


def lines_are_short(text: str) -> Iterator[Finding]:
    """A line has 100 columns at most; ruff and clang-format see to their own languages."""
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > COLUMNS:
            yield number, f"{len(line)} columns, at most {COLUMNS} are allowed"


# Tests may hold what a rule forbids, to show that it is refused.
SOURCES = r"(cpp|python/sep_\w+|webapp|scripts)/(?!.*tests?[/_.]).*"
RULES: tuple[tuple[str, Rule], ...] = (
    (r"cpp/(include|src|cuda)/", library_is_silent),
    (rf"{PURE}.*\.py$", pure_code_reads_no_clock),
    (r"python/sep_engine/(execution|risk)/.*\.py$", money_is_decimal),
    (
        r"webapp/trading/(services|brokers|trader|management)/.*\.py$",
        money_on_the_order_path_is_decimal,
    ),
    (r"python/sep_oanda_server/.*\.py$", money_on_the_order_path_is_decimal),
    (r"webapp/.*models.*\.py$", columns_of_money_are_decimal),
    (rf"{SOURCES}\.(py|hpp|cpp|cu|cuh|ts|tsx)$", names_say_what_a_thing_is),
    (rf"{SOURCES}\.(py|hpp|cpp|cu|cuh|ts|tsx)$", nothing_is_put_off),
    (r"(webapp|scripts|tests)/.*\.(ts|tsx|js|mjs|css|html)$", lines_are_short),
    (r"", no_registry_is_named),
    (r"", no_path_of_one_machine),
)
THIS = PurePosixPath(Path(__file__).relative_to(ROOT))


def findings(path: str, text: str) -> list[str]:
    """Return what breaks a rule in one file, as `path:line: message`."""
    return [
        f"{path}:{line}: {message}"
        for where, rule in RULES
        if re.match(where, path)
        for line, message in rule(text)
    ]


def files() -> Iterator[str]:
    """Yield what git tracks, and what it would if it were added now."""
    command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return (name for name in listed.split("\0") if name and (ROOT / name).is_file())


def main() -> int:
    found = []
    for path in files():
        if PurePosixPath(path) == THIS or path == "tests/test_conventions.py":
            continue  # they spell out what they look for
        try:
            text = (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        found += findings(path, text)
    print("\n".join(found) or "The conventions hold.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
