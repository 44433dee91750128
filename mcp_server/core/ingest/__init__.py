"""Tables on the way in: a file becomes a typed table, a table becomes a data set with a contract, and Parquet."""

from mcp_server.core.ingest.csv_file import read_csv
from mcp_server.core.ingest.infer import DTYPES
from mcp_server.core.ingest.options import CsvOptions, Limits, Note, Report, Table
from mcp_server.core.ingest.parquet import read_parquet, to_parquet_bytes, write_parquet
from mcp_server.core.ingest.shape import shape_table

__all__ = [
    "DTYPES",
    "CsvOptions",
    "Limits",
    "Note",
    "Report",
    "Table",
    "read_csv",
    "read_parquet",
    "shape_table",
    "to_parquet_bytes",
    "write_parquet",
]
