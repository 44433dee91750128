"""Screening for poisoned rows: robust to half of them, honest about what can't be told."""

from mcp_server.core.screening.rows import GROSS, RowScreening, Undecidable, screen_rows

__all__ = ["GROSS", "RowScreening", "Undecidable", "screen_rows"]
