"""Which limits hold for a model's groups: by the file of gates, by its data, by the rows that it's judged on."""

from datetime import UTC, datetime

import pytest

from mcp_server.core.contract import Column, Contract, RateLimits, to_dict
from mcp_server.core.contract.fairness import StatedLimit
from mcp_server.errors import InvalidInput
from mcp_server.storage.records import DatasetVersion
from mcp_server.workflows.fairness import limits_of

RATIO = {"selection_rate": RateLimits(ratio=0.8)}
GAP = {"false_negative_rate": RateLimits(difference=0.1)}


def version(sensitive: str | None, limits: dict[str, RateLimits]) -> DatasetVersion:
    columns = tuple(Column(name=name, kind="category", sensitive=name == sensitive) for name in ("sex", "town"))
    return DatasetVersion(
        name="credit",
        version=1,
        digest="sha256:1",
        artefact="sha256:2",
        rows=1,
        columns=2,
        contract=to_dict(Contract(columns=columns, fairness=limits)),
        profile={},
        source={},
        parent=None,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        created_by="local",
    )


def test_other_rows_take_no_limit_away_that_the_models_own_data_states():
    judged, own = version(None, {}), version("sex", RATIO)
    ratio = StatedLimit("selection_rate", "ratio", 0.8)
    assert limits_of([judged, own], None, {}) == {"sex": [ratio]}
    both = limits_of([version("sex", RATIO | GAP), own], None, {})
    assert both == {"sex": [StatedLimit("false_negative_rate", "difference", 0.1), ratio]}


def test_limits_of_the_file_come_on_top_for_its_columns_or_for_the_sensitive_ones():
    gap, ratio = StatedLimit("false_negative_rate", "difference", 0.1), StatedLimit("selection_rate", "ratio", 0.8)
    assert limits_of([version("sex", RATIO)], ["town"], GAP) == {"sex": [ratio], "town": [gap]}
    assert limits_of([version("sex", RATIO)], None, GAP) == {"sex": [ratio, gap]}
    assert limits_of([version("sex", {})], None, {}) == {}
    with pytest.raises(InvalidInput, match="No contract"):
        limits_of([version(None, {})], None, GAP)
