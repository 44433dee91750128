from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from core.training.tables import a_mixed_table
from mcp_server.core.training.estimators import Algorithm
from mcp_server.core.training.learn import learn
from mcp_server.core.training.parity import Parity, parity, require_parity
from mcp_server.core.training.split import plan_split
from mcp_server.core.training.target import describe_target
from mcp_server.errors import ParityFailed

Form = dict[str, Any]


class Example:
    """A trained model with held-out rows."""

    def __init__(self, algorithm: Algorithm) -> None:
        frame, contract = a_mixed_table(2_000)
        rng = np.random.default_rng(0)
        target = describe_target(frame, contract)
        split = plan_split(frame, contract, target, rng=rng)
        model = learn(frame, contract, target, split, algorithm=algorithm, rng=rng)
        self.form, self.estimator = model.form, model.estimator
        self.held_out = frame[split.test.tolist()]

    def parity_of(self, form: Form) -> Parity:
        return parity(form, self.estimator, self.held_out, rng=np.random.default_rng(1))


@pytest.fixture(scope="module")
def examples() -> dict[str, Example]:
    return {"linear": Example("linear"), "trees": Example("boosting")}


@pytest.mark.parametrize("style", ["linear", "trees"])
def test_a_faithful_form_passes(style: str, examples: dict[str, Example]) -> None:
    found = examples[style].parity_of(examples[style].form)
    assert found.largest <= 1e-12
    assert found.held_out > 100
    assert found.adversarial > 50
    assert found.vectors > 20
    require_parity(found)


def first_branch(form: Form) -> dict[str, Any]:
    branch: dict[str, Any] = form["estimator"]["trees"][0][0]
    return branch


def move_a_threshold_by_one_place(form: Form) -> None:
    branch = first_branch(form)
    branch["t"] = float(np.nextafter(branch["t"], np.inf))


def send_missing_values_the_other_way(form: Form) -> None:
    branch = first_branch(form)
    branch["m"] = 1 - branch["m"]


def change_a_leaf(form: Form) -> None:
    leaf = next(node for node in form["estimator"]["trees"][-1] if "v" in node)
    leaf["v"] += 1e-6


def lose_a_tree(form: Form) -> None:
    form["estimator"]["trees"].pop()


def change_a_coefficient(form: Form) -> None:
    form["estimator"]["coefficients"][0][0] *= 1 + 1e-6


@pytest.mark.parametrize(
    ("style", "damage"),
    [
        ("trees", move_a_threshold_by_one_place),
        ("trees", send_missing_values_the_other_way),
        ("trees", change_a_leaf),
        ("trees", lose_a_tree),
        ("linear", change_a_coefficient),
    ],
)
def test_the_gate_finds_a_planted_fault(
    style: str, damage: Callable[[Form], None], examples: dict[str, Example]
) -> None:
    form = copy.deepcopy(examples[style].form)
    damage(form)
    found = examples[style].parity_of(form)
    assert found.largest > 1e-9
    with pytest.raises(ParityFailed) as refusal:
        require_parity(found)
    assert found.where in refusal.value.message
    assert refusal.value.hint
