"""Text forms of the interface: decimal strings, RFC 3339 times with nanoseconds, UNIX times.

Times are int64 nanoseconds since 1970-01-01 UTC inside the server.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

Json: TypeAlias = dict[str, Any]

NS = 1_000_000_000
NEW_YORK = ZoneInfo("America/New_York")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?", re.ASCII
)
_UNIX = re.compile(r"(\d{1,11})(?:\.(\d{1,9}))?", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d{1,15})(\.\d{1,15})?", re.ASCII)

# Every key under which the interface carries a time.
TIME_KEYS = frozenset(
    {
        "time",
        "gtdTime",
        "createTime",
        "filledTime",
        "cancelledTime",
        "openTime",
        "closeTime",
        "createdTime",
        "from",
        "to",
        "resettablePLTime",
        "marginCallEnterTime",
        "lastMarginCallExtensionTime",
        "lastOrderFillTimestamp",
        "timestamp",
    }
)


def instant(at_ns: int) -> datetime:
    """The aware UTC datetime of a time in nanoseconds, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=at_ns // 1000)


def nanoseconds(at: datetime) -> int:
    """The nanoseconds of an aware datetime."""
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000


def time_text(at_ns: int) -> str:
    """RFC 3339 with nine fractional digits and Z, as the interface writes every time."""
    seconds, fraction = divmod(at_ns, NS)
    return f"{instant(seconds * NS):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def unix_text(rfc3339: str) -> str:
    """The UNIX form `secs.nnnnnnnnn` of a time in the RFC 3339 form."""
    try:
        seconds, fraction = divmod(read_time(rfc3339), NS)
    except ValueError:
        return rfc3339  # a reject repeats what was asked for, a wrong time too
    return f"{seconds}.{fraction:09d}"


def read_time(text: str) -> int:
    """Nanoseconds of an RFC 3339 or UNIX time.

    A time without zone is New York time: that is what the venue was seen to do with
    `gtdTime` "2018-07-02T00:00:00", which came back as 04:00 Z.

    Raises:
        ValueError: neither form.
    """
    if unix := _UNIX.fullmatch(text):
        return int(unix[1]) * NS + int((unix[2] or "").ljust(9, "0"))
    parts = _RFC3339.fullmatch(text)
    if parts is None:
        raise ValueError(f"not a time: {text[:40]!r}")
    whole, fraction, zone = parts[1], parts[2] or "", parts[3]
    at = datetime.fromisoformat(whole + ("" if zone is None else zone.replace("Z", "+00:00")))
    if zone is None:
        at = at.replace(tzinfo=NEW_YORK)
    return nanoseconds(at.astimezone(UTC)) + int(fraction.ljust(9, "0"))


def read_decimal(value: object) -> Decimal:
    """A finite decimal of at most 15 + 15 digits, from text or a JSON number.

    Raises:
        ValueError: anything else: NaN, exponents, separators, booleans, objects.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f"not a decimal number: {str(value)[:40]!r}")
    text = str(value)
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"not a decimal number: {text[:40]!r}")
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"not a decimal number: {text[:40]!r}") from error


def read_json(text: bytes) -> Any:
    """JSON whose fractions come as plain decimal text, never as floats.

    Raises:
        ValueError: not JSON, or a number that is not finite or beyond 30 digits.
    """

    def fraction(number: str) -> str:
        value = Decimal(number)
        if abs(value.adjusted()) > 30:
            raise ValueError(f"number out of range: {number[:40]}")
        return plain(value)

    def constant(name: str) -> None:
        raise ValueError(f"not a number: {name}")

    return json.loads(text, parse_float=fraction, parse_constant=constant)


def decimals_of(value: Decimal) -> int:
    """How many decimal places the value needs; trailing zeros do not count."""
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def plain(value: Decimal) -> str:
    """Text without exponent and without trailing zeros: units, rates, distances."""
    text = f"{value:f}"
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


CENT_OF_CENT = Decimal("0.0001")


def money(value: Decimal) -> Decimal:
    """An amount in account currency rounded to the four decimals that the interface carries."""
    return value.quantize(CENT_OF_CENT) + 0


def money_text(value: Decimal) -> str:
    """An amount with exactly four decimals."""
    return f"{money(value):.4f}"


def with_unix_times(value: Any) -> Any:
    """The same JSON with every time in UNIX form, for `Accept-Datetime-Format: UNIX`."""
    if isinstance(value, dict):
        return {
            key: unix_text(item)
            if key in TIME_KEYS and isinstance(item, str)
            else with_unix_times(item)
            for key, item in value.items()
        }
    return [with_unix_times(item) for item in value] if isinstance(value, list) else value
