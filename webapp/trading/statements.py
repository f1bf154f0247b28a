"""Statements whose SQL is made once.

Django takes several times as long to make the SQL of a statement as SQLite takes to run it. For
every order the same few are run, so on the order path their SQL is kept, for each thread. What is
asked is still written as a queryset and what is written as rows of models: both mean what they mean
without this module.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections
from django.db.models import Field, Model, QuerySet
from django.db.transaction import TransactionManagementError

Row = TypeVar("Row")

# They stand for the values while the SQL is made; no query has them of its own.
_WHOLE_MARK = 1_905_270_001
_TEXT_MARK = "a value, number"


class Asked(Generic[Row]):
    """A queryset that is asked again and again with other values.

    Args:
        make: returns the queryset for any count of whole numbers and texts. Each of them must come
            into the query as a value, and nothing of the query may depend on one.
    """

    def __init__(self, make: Callable[..., QuerySet[Any, Row]]) -> None:
        self._make = make
        self._kept = threading.local()

    def __call__(self, *values: int | str) -> list[Row]:
        """Return the rows of the queryset with these values."""
        texts = tuple(isinstance(value, str) for value in values)
        kept: dict[tuple[bool, ...], _Kept] = self._kept.__dict__.setdefault("by_texts", {})
        if texts not in kept:
            kept[texts] = _Kept(self._make, texts)
        return kept[texts].rows(values)


class _Kept:
    """A queryset with its SQL and with what turns columns into values, on a thread's connection."""

    def __init__(self, make: Callable[..., QuerySet[Any, Any]], texts: tuple[bool, ...]) -> None:
        marks = [
            f"{_TEXT_MARK} {place}" if text else _WHOLE_MARK + place
            for place, text in enumerate(texts)
        ]
        self._rows = make(*marks)
        self._compiler = compiler = self._rows.query.get_compiler(self._rows.db)
        self._locks = self._rows.query.select_for_update
        self._sql, self._params = compiler.as_sql()
        self._places = [
            (index, marks.index(param))
            for index, param in enumerate(self._params)
            if param in marks
        ]
        if {place for _, place in self._places} != set(range(len(marks))):
            raise TypeError("each value must come into the query as it is")
        converters = compiler.get_converters([column for column, *_ in compiler.select])
        compiler.get_converters = lambda _: converters
        # Rows are read by Django's own code, which asks the query for a compiler and that for SQL.
        self._rows.query.get_compiler = lambda *_, **__: compiler  # type: ignore[method-assign]

    def rows(self, values: Sequence[int | str]) -> list[Any]:
        if self._locks and not self._compiler.connection.in_atomic_block:
            raise TransactionManagementError("rows are locked until a transaction ends: begin one")
        params = list(self._params)
        for index, place in self._places:
            value = values[place]
            params[index] = str(value) if isinstance(value, str) else value
        self._compiler.as_sql = lambda *_, **__: (self._sql, params)
        read: Any = self._rows._iterable_class(self._rows)
        return list(read)


def rows_update(rows: Sequence[Model], names: Sequence[str]) -> None:
    """Write these fields of rows of one table, as `save(update_fields=names)` does of each.

    Raises:
        DatabaseError: one of them is not there.
    """
    if not rows:
        return
    sql, fields = _update(type(rows[0]), tuple(names))
    with connection.cursor() as cursor:
        for row in rows:
            cursor.execute(sql, (*_values(row, fields, add=False), row.pk))
            if cursor.rowcount != 1:
                raise DatabaseError(f"{row!r} is not there to be written")


def row_insert(row: Model) -> None:
    """Insert a row and give it its key, as `save(force_insert=True)` does."""
    sql, fields = _insert(type(row), 1)
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} RETURNING id", _values(row, fields, add=True))
        (row.pk,) = cursor.fetchone()
    row._state.adding, row._state.db = False, connection.alias


def rows_insert(rows: Sequence[Model]) -> None:
    """Insert rows of one table in one statement; they are not given their keys."""
    if not rows:
        return
    sql, fields = _insert(type(rows[0]), len(rows))
    with connection.cursor() as cursor:
        cursor.execute(sql, [value for row in rows for value in _values(row, fields, add=True)])


def _values(row: Model, fields: Iterable[Field[Any, Any]], *, add: bool) -> list[Any]:
    database = connections[DEFAULT_DB_ALIAS]
    return [field.get_db_prep_save(field.pre_save(row, add), database) for field in fields]


@lru_cache(maxsize=256)
def _update(model: type[Model], names: tuple[str, ...]) -> tuple[str, list[Field[Any, Any]]]:
    by_name = {field.name: field for field in model._meta.concrete_fields}
    fields = [by_name[name] for name in names]
    columns = ", ".join(f'"{field.column}" = %s' for field in fields)
    return f'UPDATE "{model._meta.db_table}" SET {columns} WHERE id = %s', fields


@lru_cache(maxsize=256)
def _insert(model: type[Model], count: int) -> tuple[str, list[Field[Any, Any]]]:
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    columns = ", ".join(f'"{field.column}"' for field in fields)
    row = f"({', '.join(['%s'] * len(fields))})"
    rows = ", ".join([row] * count)
    return f'INSERT INTO "{model._meta.db_table}" ({columns}) VALUES {rows}', fields
