"""Courtside: an MCP server that looks after machine-learning models on tables."""

__version__ = "0.1.0"
