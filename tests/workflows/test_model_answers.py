"""What the answer of a training says in sentences."""

from mcp_server.workflows.model_answers import account_lines

ACCOUNT = {
    "trials": 5,
    "seconds": 33.5,
    "ended_by": "seconds",
    "tried": [
        {"algorithm": "linear", "trials": 2, "pruned": 0, "seconds": 1.5},
        {"algorithm": "boosting", "trials": 3, "pruned": 1, "seconds": 14.0},
    ],
    "members": [{"algorithm": "boosting", "tuned": True, "weight": 1.0, "balance": "none"}],
    "folds": 5,
    "rows": 1000,
    "loss": 0.11,
    "gap": {"train": 0.1, "test": 0.12},
    "against": [],
    "curve": {
        "algorithm": "boosting",
        "points": [{"rows": 400, "train": 0.1, "folds": 0.2}, {"rows": 800, "train": 0.1, "folds": 0.15}],
    },
}


def test_the_time_of_the_trials_is_told_apart_from_that_of_choosing():
    assert account_lines(ACCOUNT, "none")[0] == (
        "Tuned with 5 trials in 15.5 s, ended by seconds, and chose in 18.0 s: "
        "linear 2 (0 pruned), boosting 3 (1 pruned)."
    )


def test_how_rare_classes_were_learned_is_told_where_it_was_searched():
    for balance, said in (("none", "rare classes as they come"), ("weights", "weights for rare classes")):
        member = {**ACCOUNT["members"][0], "balance": balance}
        assert said in account_lines({**ACCOUNT, "members": [member]}, "none")[1]
    plain = {name: value for name, value in ACCOUNT["members"][0].items() if name != "balance"}
    assert "classes" not in account_lines({**ACCOUNT, "members": [plain]}, "none")[1]


def test_a_curve_of_losses_before_calibration_says_so_where_the_loss_is_one_after_it():
    after = account_lines(ACCOUNT, "isotonic")
    assert "calibrated (isotonic), loss .1" in after[1]
    assert "before calibration: 400 rows .2" in after[2]
    assert not any("calibrat" in line for line in account_lines(ACCOUNT, "none"))


def test_that_a_simpler_model_was_taken_is_told():
    ahead = {"simpler_than": {"name": "boosting tuned", "difference": -0.01, "low": -0.03, "high": 0.01}}
    told = "boosting tuned was ahead by less than a standard error: the simpler is taken, defaults before tuned."
    assert told in account_lines({**ACCOUNT, **ahead}, "none")
    assert told not in account_lines(ACCOUNT, "none")
