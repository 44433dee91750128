"""Training in which LightGBM is the only candidate of tuning, so that it wins whatever the data are."""

from __future__ import annotations

from mcp_server.workflows import training_job
from mcp_server.workflows.registry import WORKFLOWS

training_job.CANDIDATES = ()
__all__ = ["WORKFLOWS"]
