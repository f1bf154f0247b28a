"""The one way that money, prices and units are stored."""

from decimal import Decimal
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql.compiler import SQLCompiler

SQLITE_DIGITS = 15


class AmountSum(models.Sum):
    """An exact sum of amounts.

    SQLite adds binary64, in which 1000.10 - 999.62 is 0.480000000000018. Here it adds whole
    numbers of the tenth decimal, exact to 922 million.
    """

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        template = "(%(function)s(CAST(ROUND(%(expressions)s * 1e10) AS INTEGER)) / 1e10)"
        return super().as_sql(compiler, connection, template=template, **context)


class SumField(models.TextField):  # type: ignore[type-arg]
    """An exact sum of amounts, kept as decimal text: it may outgrow what SQLite keeps of a number.

    It is read and written whole; no query compares it.
    """

    def from_db_value(self, value: str | None, *context: Any) -> Decimal | None:
        return None if value is None else Decimal(value)

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else f"{Decimal(value):f}"


class AmountField(models.DecimalField):  # type: ignore[type-arg]
    """An exact decimal: 28 digits, 10 of them after the point.

    SQLite keeps decimals as binary64, which is exact to 15 significant digits. A longer value is
    refused there instead of being rounded unseen; PostgreSQL stores all 28.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_digits"] = 28
        kwargs["decimal_places"] = 10
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["max_digits"], kwargs["decimal_places"]
        return name, path, args, kwargs

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        if connection.vendor == "sqlite" and isinstance(value, Decimal) and value.is_finite():
            digits = len(value.normalize().as_tuple().digits)
            if digits > SQLITE_DIGITS:
                raise ValueError(
                    f"{self.name} must fit {SQLITE_DIGITS} significant digits on SQLite, "
                    f"was {value}; use PostgreSQL (DATABASE_URL) for larger amounts"
                )
        return super().get_db_prep_save(value, connection)
