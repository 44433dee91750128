"""Tables on the way in: files become a typed table, a table becomes a data set with a contract, and Parquet."""

from mcp_server.core.ingest.assemble import File, read_csv, read_table
from mcp_server.core.ingest.extend import Extended, extend, new_classes, text_columns
from mcp_server.core.ingest.formats import HEAD, packing_of, unpacked_name
from mcp_server.core.ingest.infer import DTYPES
from mcp_server.core.ingest.options import CsvOptions, FileRows, Limits, Note, Report, Table
from mcp_server.core.ingest.packing import unpack
from mcp_server.core.ingest.parquet import read_parquet, to_parquet_bytes, write_parquet
from mcp_server.core.ingest.parts import Parts, in_parts
from mcp_server.core.ingest.shape import shape_parts, shape_table

__all__ = [
    "DTYPES",
    "HEAD",
    "CsvOptions",
    "Extended",
    "File",
    "FileRows",
    "Limits",
    "Note",
    "Parts",
    "Report",
    "Table",
    "extend",
    "in_parts",
    "new_classes",
    "packing_of",
    "read_csv",
    "read_parquet",
    "read_table",
    "shape_parts",
    "shape_table",
    "text_columns",
    "to_parquet_bytes",
    "unpack",
    "unpacked_name",
    "write_parquet",
]
