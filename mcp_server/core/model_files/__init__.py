"""What a foreign model file is and whether it's data alone, told from its bytes; nothing of it is loaded or run."""

from mcp_server.core.model_files.read import MOST_BYTES, open_model_file, read_model_file
from mcp_server.core.model_files.report import CODES, FileFinding, FileVerdict, ModelFileReport

__all__ = ["CODES", "MOST_BYTES", "FileFinding", "FileVerdict", "ModelFileReport", "open_model_file", "read_model_file"]
