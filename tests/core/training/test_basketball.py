"""Five seasons of real games, judged by models of the 26 seasons before: an honest area is .71 to .73."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.training.tables import basketball
from mcp_server.core.comparison import compare_predictions
from mcp_server.core.predictor.batch import compile_batch
from mcp_server.core.training.estimators import Algorithm
from mcp_server.core.training.evaluate import evaluate
from mcp_server.core.training.learn import learn
from mcp_server.core.training.parity import parity, require_parity
from mcp_server.core.training.split import plan_split
from mcp_server.core.training.target import describe_target, target_values
from mcp_server.errors import LeakFound

FEATURES = ["home_elo", "away_elo", "elo_diff", "neutral", "playoff"]


@pytest.fixture(scope="module")
def games() -> Any:
    frame, contract = basketball()
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, test="season >= 2011", rng=np.random.default_rng(0))
    return frame, contract, target, split


@pytest.mark.parametrize("algorithm", ["linear", "boosting"])
def test_five_seasons_are_forecast_as_well_as_is_honest(games: Any, algorithm: Algorithm) -> None:
    frame, contract, target, split = games
    model = learn(frame, contract, target, split, algorithm=algorithm, features=FEATURES, rng=np.random.default_rng(1))
    assert model.form["calibration"]["kind"] == "platt"
    held_out = frame[split.test.tolist()]
    require_parity(parity(model.form, model.estimator, held_out, rng=np.random.default_rng(2)))
    found = evaluate(model.form, frame, contract, target, split, rng=np.random.default_rng(3))["metrics"]
    assert found["log_loss"]["value"] <= 0.602
    assert 0.715 <= found["roc_auc"]["value"] <= 0.73
    assert found["roc_auc"]["low"] < 0.7228 < found["roc_auc"]["high"]


def test_boosting_cannot_be_told_from_the_published_forecast(games: Any) -> None:
    frame, contract, target, split = games
    model = learn(frame, contract, target, split, algorithm="boosting", features=FEATURES, rng=np.random.default_rng(1))
    held_out = frame[split.test.tolist()]
    outcomes = target_values(frame, contract, target)[split.test]
    ours = compile_batch(model.form).answer(held_out).forecast
    published = held_out["elo_home_win_prob"].to_numpy()
    found = compare_predictions(outcomes, ours, published, task="binary", rng=np.random.default_rng(4)).primary
    assert found.second == pytest.approx(0.6001, abs=5e-5)
    assert found.verdict == "no detectable difference"
    assert found.detectable == pytest.approx(0.0025, abs=0.001)
    # Recomputed without any of it: resampled games, percentiles of the paired differences.
    gaps = np.log(np.where(outcomes == 1, ours, 1 - ours)) - np.log(np.where(outcomes == 1, published, 1 - published))
    rng = np.random.default_rng(5)
    means = [gaps[rng.integers(0, len(gaps), len(gaps))].mean() for _ in range(2_000)]
    low, high = np.quantile(means, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.1 * (high - low))
    assert found.high == pytest.approx(high, abs=0.1 * (high - low))


def test_the_final_scores_are_refused_and_would_give_the_game_away(games: Any) -> None:
    frame, contract, target, split = games
    scores = ["home_score", "away_score"]
    rng = np.random.default_rng(6)
    with pytest.raises(LeakFound):
        learn(frame, contract, target, split, algorithm="linear", features=scores, rng=rng)
    model = learn(frame, contract, target, split, algorithm="linear", features=scores, allow_leaks=True, rng=rng)
    found = evaluate(model.form, frame, contract, target, split, rng=rng, resamples=100)["metrics"]
    assert found["roc_auc"]["value"] > 0.999
