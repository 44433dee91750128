"""Personal data in a table: which columns hold it, by their names and by the shape of their values."""

from mcp_server.core.personal.find import Personal, find_personal, looks_personal, may_name_people
from mcp_server.core.personal.subject import matching, written

__all__ = ["Personal", "find_personal", "looks_personal", "matching", "may_name_people", "written"]
