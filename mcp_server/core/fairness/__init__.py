"""How a model treats groups of rows: rates and gaps with intervals, proxies, gates, and where definitions conflict."""

from mcp_server.core.fairness.gates import Limit, Ruling, overall, rule
from mcp_server.core.fairness.grouping import Group, group_rows
from mcp_server.core.fairness.intervals import Rate
from mcp_server.core.fairness.proxies import Proxy, proxies
from mcp_server.core.fairness.rates import GroupRates
from mcp_server.core.fairness.report import DefinitionConflict, Disparity, FairnessReport, fairness

__all__ = [
    "DefinitionConflict",
    "Disparity",
    "FairnessReport",
    "Group",
    "GroupRates",
    "Limit",
    "Proxy",
    "Rate",
    "Ruling",
    "fairness",
    "group_rows",
    "overall",
    "proxies",
    "rule",
]
