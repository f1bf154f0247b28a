"""The members of an enum as a column's choices."""

from collections.abc import Iterable
from enum import StrEnum


def choices(members: Iterable[StrEnum]) -> list[tuple[str, str]]:
    return [(str(member), str(member)) for member in members]
