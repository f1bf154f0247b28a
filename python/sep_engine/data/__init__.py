"""Market data in and out of files: CSV, Parquet, the sample, and what is wrong with them."""

from sep_engine.data.bars import Bars, Quotes, load_bars, load_quotes
from sep_engine.data.quality import Finding, QualityReport, inspect
from sep_engine.data.sample import Sample, load_sample, quote_bars
from sep_engine.data.table import BadRow, Table, read_table
from sep_engine.data.write import write_columns

__all__ = [
    "BadRow",
    "Bars",
    "Finding",
    "QualityReport",
    "Quotes",
    "Sample",
    "Table",
    "inspect",
    "load_bars",
    "load_quotes",
    "load_sample",
    "quote_bars",
    "read_table",
    "write_columns",
]
