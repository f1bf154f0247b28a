"""The fault script: what goes wrong with which request. Values only; the server acts on them.

A script is a JSON list of rules. The first rule that matches a request and is not used up decides
what goes wrong with it:

    {"method": "POST", "path": "/orders$", "after": 1, "times": 2, "cut": "after"}

leaves the first POST to /orders alone and processes the next two without answering them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any

from sep_oanda_server.matching import Interference
from sep_oanda_server.wire import Json, read_decimal


class FaultError(ValueError):
    """A rule that is not of the stated form; the message names its place and key."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule: which requests, and what goes wrong with them.

    Which requests:
        method: "GET", "POST", "PUT", "PATCH" or "*".
        path: regular expression, searched in the path.
        after: matching requests that pass unharmed first.
        times: how many requests it then befalls; 0 means all.

    On the connection:
        delay_s: wait before processing.
        delay_after_s: process, then wait before answering.
        cut: "before" closes the connection unprocessed, "after" processes first.
        cut_at: with cut "after", bytes of the answer (head included) that still go out.
        status, body, headers: answer this instead: 429, 5xx, a redirect. `body` is sent as given,
            text or JSON.
        processed: whether the request takes effect before that answer.
        truncate: cut the answer's body to this many bytes, correctly framed: malformed JSON.
        pad: append this many spaces to the answer's body.
        gzip: compress the answer.

    In the matching engine:
        reject: a reject reason for the order, cancel or close.
        cancel: a cancel reason: 201 with an orderCancelTransaction.
        fill_units: as many units as the market has at this moment.

    On reads:
        lag_s: answer from the account as it was so long ago.

    On a stream:
        drop: leave out this many lines, heartbeats not counted.
        duplicate: send every line twice.
        swap: exchange each pair of lines.
        stall_after: fall silent after so many lines, the connection open.
        cut_after: close after so many lines.
        garble: send the first line's first half only, with a line end.
        split: send each line in two pieces, with CR LF and empty lines between lines.
    """

    method: str = "*"
    path: str = ""
    after: int = 0
    times: int = 1
    delay_s: float = 0
    delay_after_s: float = 0
    cut: str = ""
    cut_at: int = 0
    status: int = 0
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    processed: bool = False
    truncate: int = -1
    pad: int = 0
    gzip: bool = False
    reject: str | None = None
    cancel: str | None = None
    fill_units: Decimal | None = None
    lag_s: float = 0
    drop: int = 0
    duplicate: bool = False
    swap: bool = False
    stall_after: int = -1
    cut_after: int = -1
    garble: bool = False
    split: bool = False

    @property
    def interference(self) -> Interference:
        return Interference(self.reject, self.cancel, self.fill_units)

    def matches(self, method: str, path: str) -> bool:
        return self.method in ("*", method) and re.search(self.path, path) is not None


_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "str | None": str,
    "Mapping[str, str]": dict,
    "Any": object,
    "Decimal | None": (str, int),
}


def read_fault(source: object, where: str = "fault") -> Fault:
    """A rule from JSON.

    Raises:
        FaultError: an unknown key, a value of the wrong type, or a bad regular expression.
    """
    if not isinstance(source, dict):
        raise FaultError(f"{where}: must be an object")
    known = {one.name: str(one.type) for one in fields(Fault)}
    values: Json = {}
    for key, value in source.items():
        if key not in known:
            raise FaultError(f"{where}.{key}: no such key; there are {', '.join(known)}")
        wrong_bool = isinstance(value, bool) and known[key] not in ("bool", "Any")
        if wrong_bool or not isinstance(value, _TYPES[known[key]]):
            raise FaultError(f"{where}.{key}: must be of type {known[key]}, was {value!r}")
        values[key] = read_decimal(value) if key == "fill_units" else value
    try:
        re.compile(values.get("path", ""))
    except re.error as error:
        raise FaultError(f"{where}.path: {error}") from None
    if values.get("cut", "") not in ("", "before", "after"):
        raise FaultError(f"{where}.cut: must be 'before' or 'after'")
    return Fault(**values)


def read_script(source: object) -> tuple[Fault, ...]:
    """A list of rules from JSON.

    Raises:
        FaultError: as `read_fault`.
    """
    if not isinstance(source, list):
        raise FaultError("a fault script is a list of rules")
    return tuple(read_fault(rule, f"fault {n}") for n, rule in enumerate(source, 1))


class FaultScript:
    """Rules with the count of requests that each has seen."""

    def __init__(self, rules: Sequence[Fault] = ()) -> None:
        self._rules: list[Fault] = []
        self._seen: list[int] = []
        self.add(rules)

    def add(self, rules: Sequence[Fault]) -> None:
        self._rules.extend(rules)
        self._seen.extend(0 for _ in rules)

    def clear(self) -> None:
        self._rules.clear()
        self._seen.clear()

    @property
    def seen(self) -> list[int]:
        """For each rule, how many requests matched it so far."""
        return list(self._seen)

    def take(self, method: str, path: str) -> Fault | None:
        """The fault for this request, which is thereby counted; None: nothing goes wrong."""
        for n, rule in enumerate(self._rules):
            if not rule.matches(method, path):
                continue
            if rule.times and self._seen[n] >= rule.after + rule.times:
                continue
            self._seen[n] += 1
            if self._seen[n] > rule.after:
                return rule
        return None
