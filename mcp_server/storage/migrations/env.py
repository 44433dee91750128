"""What Alembic runs for every command: the steps, on the connection that the caller holds the lock with."""

from __future__ import annotations

from alembic import context

from mcp_server.storage.migrations import VERSION_TABLE
from mcp_server.storage.tables import metadata

if hasattr(context, "config"):  # Only then it's Alembic that runs this file, and not somebody's import.
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        version_table=VERSION_TABLE,
    )
    context.run_migrations()
