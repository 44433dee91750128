"""The whole path on real games, through the real server over stdio."""

import asyncio
import base64
import csv
import math
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from acceptance.processes import environment, refused, stdio_client, text_of, told

GAMES = Path(__file__).parents[3] / "shared" / "data" / "nba" / "nba_games_1947_2015.csv"
FEATURES = ["home_elo", "away_elo", "elo_diff", "neutral", "playoff"]

pytestmark = pytest.mark.skipif(not GAMES.exists(), reason="the games are not beside the repository")


@asynccontextmanager
async def connected(tmp_path: Path):
    env = environment(tmp_path, allowed_dirs=str(GAMES.parent), rate_per_second="1000", rate_burst="1000")
    async with stdio_client(["-m", "mcp_server", "serve"], env, "auto", tmp_path / "stderr.log") as client:
        yield client


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Everything that the assistant is told on its way, once."""

    async def scene() -> dict:
        said = {"folder": tmp_path_factory.mktemp("games")}
        async with connected(said["folder"]) as client:
            said["imported"] = await told(
                client,
                "import_data",
                name="nba",
                path=GAMES.name,
                target="home_win",
                time="date",
                filter="season >= 1985",
                derived={"home_win": "home_score > away_score", "elo_diff": "home_elo - away_elo"},
            )
            said["validated"] = await told(client, "validate_data", dataset="nba@1")
            said["leak"] = await refused(
                client, "train_model", model="leak", dataset="nba@1", features=["home_score", "away_score"]
            )
            job = await told(
                client, "train_model", model="nba", dataset="nba@1", features=FEATURES, test="season >= 2011"
            )
            for _ in range(20):
                job = await told(client, "get_job", job="nba", wait=30.0)
                if job.structured_content["state"] not in ("queued", "running"):
                    break
            said["trained"] = job
            said["ambiguous"] = await refused(client, "predict", model="nba", rows=[{"home_elo": 1500}])
            said["compared"] = await told(client, "compare_models", models=["nba@2"], column="elo_home_win_prob")
            said["verified"] = await told(client, "verify_model", model="nba@2")
            row = {"home_elo": 1600, "away_elo": 1500, "neutral": 0, "playoff": 0}
            said["predicted"] = await told(
                client, "predict", model="nba@1", rows=[row, {**row, "home_elo": 16_000}, {"home_elo": 1600}]
            )
            said["found"] = await told(client, "search_models", query="nba")
            said["health"] = await told(client, "health_report")
            said["card"] = (await client.read_resource("model://nba@1/card")).contents[0].text
            said["history"] = (await client.read_resource("experiment://nba/history")).contents[0].text
        return said

    return asyncio.run(scene())


def test_what_the_target_is_computed_from_is_known_after(path):
    roles = {name: role for name, _, role in path["imported"].structured_content["untrusted"]["columns"]}
    assert roles["home_score"] == roles["away_score"] == "known_after"
    assert roles["home_win"] == "target"
    assert path["imported"].structured_content["rows"] == 37_342


def test_the_real_table_does_not_fail_validation(path):
    found = path["validated"].structured_content
    assert found["verdict"] in ("pass", "warn"), found["findings"]
    assert any("noisy" in what or "flip" in what for what in found["not_looked_for"])


def test_final_scores_as_features_are_refused_as_a_leak(path):
    assert path["leak"]["code"] == "E_LEAK"
    assert "runbook://leak-found" in path["leak"]["runbook"]


@pytest.mark.parametrize("place", [0, 1])
def test_both_models_are_honest_and_as_good_as_measured(path, place):
    result = path["trained"].structured_content["result"]
    version = result["versions"][place]
    assert version["algorithm"] == ("linear", "boosting")[place]
    assert version["verification"] == "passed"
    assert version["metrics"]["log_loss"]["value"] <= 0.602
    assert 0.715 <= version["metrics"]["roc_auc"]["value"] <= 0.73
    assert version["metrics"]["log_loss"]["low"] < version["metrics"]["log_loss"]["value"]


def test_the_comparison_with_the_published_forecast_claims_no_more_than_it_can(path):
    found = path["compared"].structured_content
    assert found["verdict"] == "no detectable difference"
    assert found["sentence"].startswith("No detectable difference between nba@2 and the outside forecast on 6,329 rows")
    assert "rows to detect it; this sample would show ± .00" in found["sentence"]
    assert "equal" not in text_of(path["compared"])
    pictures = [block for block in path["compared"].content if block.type == "image"]
    assert [base64.b64decode(one.data)[:4] for one in pictures] == [b"\x89PNG", b"\x89PNG"]


def test_the_interval_agrees_with_an_independent_recomputation(path):
    """Plain percentile bootstrap of the paired log-loss difference, from the model's own answers to the raw rows."""
    with GAMES.open(newline="") as file:
        games = [row for row in csv.DictReader(file) if int(row["season"]) >= 2011]
    won = np.array([int(row["home_score"]) > int(row["away_score"]) for row in games])

    async def answers() -> list[float]:
        shares: list[float] = []
        async with connected(path["folder"]) as client:
            for start in range(0, len(games), 100):
                rows = [
                    {name: float(row[name]) for name in ("home_elo", "away_elo")}
                    | {name: int(row[name]) for name in ("neutral", "playoff")}
                    for row in games[start : start + 100]
                ]
                result = await told(client, "predict", model="nba@2", rows=rows, show=100)
                shares += [
                    one["probability"] if one["value"] == "1" else 1 - one["probability"]
                    for one in result.structured_content["predictions"]
                ]
        return shares

    ours = np.array(asyncio.run(answers()))
    theirs = np.array([float(row["elo_home_win_prob"]) for row in games])
    difference = loss(won, theirs) - loss(won, ours)  # positive favours ours
    rng = np.random.default_rng(99)
    means = np.array([difference[rng.integers(0, len(won), len(won))].mean() for _ in range(4_000)])
    low, high = np.quantile(means, [0.025, 0.975])
    found = next(one for one in path["compared"].structured_content["metrics"] if one["metric"] == "log loss")
    assert found["difference"] == pytest.approx(difference.mean(), abs=2e-6)
    assert found["low"] == pytest.approx(low, abs=1.5e-4)
    assert found["high"] == pytest.approx(high, abs=1.5e-4)
    assert math.isclose(path["compared"].structured_content["rows"], len(won))


def loss(won: np.ndarray, share: np.ndarray) -> np.ndarray:
    return -np.where(won, np.log(share), np.log1p(-share))


def test_a_name_with_two_versions_is_not_guessed(path):
    assert path["ambiguous"]["code"] == "E_CONFLICT"
    assert "nba@2" in path["ambiguous"]["hint"]


def test_each_check_of_the_verification_passed(path):
    found = path["verified"].structured_content
    assert found["verdict"] == "passed"
    states = {check["name"]: check["state"] for check in found["checks"]}
    # The games are of years ago, and no newer ones were imported.
    assert {name for name, state in states.items() if state != "passed"} <= {"age", "drift", "membership"}
    assert {"signature", "digest", "training_form", "golden_rows", "parity", "provenance"} <= states.keys()
    assert "failed" not in states.values()


def test_a_prediction_says_what_is_odd_about_its_row(path):
    ordinary, wrong_unit, incomplete = path["predicted"].structured_content["predictions"]
    assert "flags" not in ordinary
    assert ordinary["probability"] == pytest.approx(0.76, abs=0.02)
    assert {"out_of_range home_elo", "suspected_unit home_elo"} <= set(wrong_unit["flags"])
    assert {"missing away_elo", "missing neutral"} <= set(incomplete["flags"])


def test_history_card_search_and_health_know_the_model(path):
    assert [one["model"] for one in path["found"].structured_content["models"]] == ["nba@2", "nba@1"]
    assert "season >= 2011" in path["card"]
    assert '"status": "succeeded"' in path["history"]
    assert path["health"].structured_content["models"]["verified"] == 2
