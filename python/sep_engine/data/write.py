"""Columns out: Parquet or CSV."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sep_engine.errors import DataError


def write_columns(
    path: Path | str, times: NDArray[np.int64], columns: Mapping[str, NDArray[np.generic]]
) -> None:
    """Write `times` (as UTC timestamps) and `columns` to a .parquet or .csv file, whole or not.

    Args:
        path: where to; its name says which of the two.
        times: (n,) int64 nanoseconds since 1970 UTC.
        columns: (n,) each; NaN becomes an empty cell.

    Raises:
        DataError: another name, or it cannot be written.
    """
    path = Path(path)
    if path.suffix not in (".parquet", ".csv"):
        raise DataError(f"{path}: the name must end in .parquet or .csv")
    arrays = {"time": pa.array(times).cast(pa.timestamp("ns", "UTC"))}
    for name, column in columns.items():
        arrays[name] = pa.array(column, from_pandas=True)
    table = pa.table(arrays)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        if path.suffix == ".parquet":
            pq.write_table(table, unfinished, compression="zstd")
        else:
            # CSV has no types: write the times as the reader above reads them.
            text = pa.compute.strftime(
                table["time"].cast(pa.timestamp("us", "UTC")), "%Y-%m-%dT%H:%M:%SZ"
            )
            options = pacsv.WriteOptions(quoting_style="none", include_header=False)
            with unfinished.open("wb") as file:
                file.write((",".join(table.column_names) + "\n").encode())
                pacsv.write_csv(table.set_column(0, "time", text), file, options)
        unfinished.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
