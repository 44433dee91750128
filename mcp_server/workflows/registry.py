"""The job workflows by the name of their kind; what the worker loads."""

from mcp_server.workflows.retention import KIND as RETENTION
from mcp_server.workflows.retention_job import retain
from mcp_server.workflows.training_job import train

WORKFLOWS = {"train": train, RETENTION: retain}
