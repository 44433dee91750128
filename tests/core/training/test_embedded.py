"""Embedded columns: a model that learned from them takes the column that they were made of, where it can."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from core.preparing.tables import a_table, prepared
from mcp_server.core.predictor import compile_form
from mcp_server.core.predictor.batch import compile_batch
from mcp_server.core.training.embedded import carry_embeddings
from mcp_server.core.training.learn import learn
from mcp_server.core.training.parity import parity
from mcp_server.core.training.split import plan_split, split_rng
from mcp_server.core.training.target import describe_target

TARGET = {"do": "embed", "column": "team", "by": "target"}
HASHING = {"do": "embed", "column": "team", "by": "hashing", "width": 4}
TEXT = {"do": "embed", "column": "note", "by": "text", "width": 2}


def games(rows: int = 400, classes: int = 2):
    rng = np.random.default_rng(0)
    team = rng.integers(0, 12, rows)
    outcome = (team % classes + (rng.random(rows) < 0.2)) % classes
    names: list[str | None] = [f"team {at}" for at in team]
    names[5] = names[rows - 5] = None
    frame = {"team": names, "note": [f"word{at} word{at % 7}" for at in team * 31], "x": rng.normal(size=rows)}
    return a_table(frame | {"y": outcome.astype(str)}, target="y", roles={"note": "ignored"})


def trained(table, *steps, algorithm="linear", features=None, seed=0):
    """A model of the prepared table, its form with what is carried, the columns needed, and the test rows."""
    found = prepared(table, *steps)
    frame, contract = found.table.frame, found.table.contract
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, rng=split_rng(seed))
    rng = np.random.default_rng(1)
    learned = learn(frame, contract, target, split, algorithm=algorithm, features=features, rng=rng)
    form, needed = carry_embeddings(
        learned.form,
        frame,
        contract,
        [step for step in found.fitted.values() if step["do"] == "embed"],
        learned=split.train,
        unseen=np.concatenate([split.calibration, split.test]),
    )
    return learned, form, needed, frame[split.test.tolist()]


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("algorithm", ["linear", "splines", "boosting"])
@pytest.mark.parametrize("step", [TARGET, HASHING], ids=["target", "hashing"])
def test_a_row_is_answered_from_the_column_itself_as_from_what_was_made_of_it(step, algorithm, classes):
    made = [f"team_{step['by']}{tail}" for tail in ([f"_{at}" for at in range(1, 5)] if step is HASHING else [""])]
    if step is TARGET and classes == 3:
        made = [f"team_target_{at}" for at in (1, 2, 3)]
    learned, form, needed, test = trained(games(classes=classes), step, algorithm=algorithm, features=[*made, "x"])
    assert needed == []
    assert set(compile_form(learned.form).required) == {*made, "x"}
    predictor = compile_form(form)
    assert set(predictor.required) == {"team", "x"}
    before = compile_batch(learned.form).answer(test).forecast
    assert compile_batch(form).answer(test.select("team", "x")).forecast == pytest.approx(before, abs=1e-12)
    for row, answer in zip(test.select("team", "x").to_dicts(), before, strict=True):
        second = list(predictor.answer(row).probabilities.values())
        assert (second[1] if classes == 2 else second) == pytest.approx(answer, abs=1e-9)
    assert parity(form, learned.estimator, test, rng=np.random.default_rng(0)).largest < 1e-9


def test_a_value_that_was_never_seen_gets_the_rate_of_all_and_is_flagged():
    learned, form, _, _ = trained(games(), TARGET, features=["team_target"])
    predictor, plain = compile_form(form), compile_form(learned.form)
    (encoding,) = form["encoder"]
    assert 0.3 < encoding["other"] < 0.7
    found = predictor.answer({"team": "team 99"})
    assert [flag.kind for flag in found.flags] == ["unseen_category"]
    assert found.probabilities == pytest.approx(plain.answer({"team_target": encoding["other"]}).probabilities)
    odd = pl.DataFrame({"team": ["team 99", None]}, schema={"team": pl.String})
    missing = plain.answer({"team_target": encoding["missing"]})
    told = [found.probabilities["1"], missing.probabilities["1"]]
    assert compile_batch(form).answer(odd).forecast == pytest.approx(told)


def test_text_columns_are_needed_as_they_are_and_it_says_so():
    learned, form, needed, _ = trained(games(), TEXT, features=["note_text_1", "note_text_2", "x"])
    assert form == learned.form
    assert needed == ["note_text_1", "note_text_2"]


def test_marks_of_what_was_filled_are_needed_as_they_are():
    """A row that lacks the value says nothing of it in the mark, which would count as not missing."""
    mark = {"do": "impute", "columns": ["team"], "by": "mode", "mark": True}
    learned, form, needed, _ = trained(games(), mark, features=["team", "team_missing", "x"])
    assert form == learned.form
    assert needed == ["team_missing"]
    assert trained(games(), mark, features=["team", "x"])[2] == []


def test_what_was_changed_since_is_needed_as_it_is():
    filled = {"do": "derive", "columns": {"double": "team_target * 2"}}
    learned, form, needed, _ = trained(games(), TARGET, filled, features=["double"])
    assert form == learned.form
    assert needed == ["team_target"]
    _, other, needed, _ = trained(games(), TARGET, features=["team_target"], seed=3)
    assert needed == ["team_target"]
    assert compile_form(other).required == ("team_target",)


def test_without_the_column_or_what_was_fitted_nothing_is_carried():
    dropped = {"do": "drop_columns", "columns": ["team"]}
    learned, form, needed, _ = trained(games(), TARGET, dropped, features=["team_target"])
    assert form == learned.form
    assert needed == ["team_target"]
    found = prepared(games(), TARGET)
    frame, contract = found.table.frame, found.table.contract
    split = plan_split(frame, contract, describe_target(frame, contract), rng=split_rng(0))
    rows = {"learned": split.train, "unseen": split.test}
    learned, form, _, _ = trained(games(), TARGET, features=["team_target"])
    assert carry_embeddings(learned.form, frame, contract, [], **rows) == (learned.form, [])
    wrong = {**found.fitted["1"], "other": [0.5]} | {"values": {key: [0.5] for key in found.fitted["1"]["values"]}}
    assert carry_embeddings(learned.form, frame, contract, [wrong], **rows)[0] == learned.form
