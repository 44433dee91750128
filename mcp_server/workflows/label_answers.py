"""What the tool for labels answers, and its sentences about what labels gain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from mcp_server.workflows.reply import Reply, bounds, counted, number

if TYPE_CHECKING:
    from mcp_server.storage.records import Suggestion

MOST_ROWS_TOLD = 12
MOST_EARLIER = 5
_METRICS = {"log_loss": "log loss", "accuracy": "accuracy", "rmse": "RMSE"}


class Suggested(Reply):
    """The rows to label, the worthiest first, and what labels gain: expected for these, measured for earlier ones."""

    dataset: str
    pool: str | None = None
    labelled: int
    unlabelled: int
    how: str
    rows: list[dict[str, Any]]
    expected: dict[str, Any] | None = None
    expected_gain: str
    earlier: list[dict[str, Any]] = Field(default_factory=list)

    def lines(self) -> list[str]:
        where = f" of {self.pool}" if self.pool else ""
        told = [
            f"{self.dataset} has {counted(self.labelled, 'label')}. Of {counted(self.unlabelled, 'row')} without one"
            f"{where}, these {len(self.rows)} are most worth labelling. {self.how}"
        ]
        told += [f"- row {row['row']}: {row['reason']}" for row in self.rows[:MOST_ROWS_TOLD]]
        if len(self.rows) > MOST_ROWS_TOLD:
            told.append(f"- and {len(self.rows) - MOST_ROWS_TOLD} more in the structure.")
        told.append(self.expected_gain)
        return told + [one["said"] for one in self.earlier]


def reason(row: dict[str, Any], task: str | None) -> str:
    """Why a row was chosen, in words of ours.

    Args:
        row: why, uncertainty, disagreement and alike, as `core.labelling.Chosen` has them.
        task: of the target; None where no model was asked.
    """
    alike = "" if row["alike"] == 1 else f" Stands for {row['alike']} like it."
    if row["why"] == "spread":
        return f"A typical row of its kind.{alike}"
    unsure, apart = number(row["uncertainty"], 2), number(row["disagreement"], 2)
    if task == "regression":
        said = {
            "undecided": f"The trees are {unsure} deviations of the target apart; the models {apart}.",
            "disagreement": f"The two models are {apart} deviations of the target apart; the trees {unsure}.",
        }[row["why"]]
    else:
        gap = number(1.0 - row["uncertainty"], 2)
        said = {
            "undecided": f"Undecided: the two likeliest classes are {gap} apart; disagreement {apart}.",
            "disagreement": f"The two models disagree by {apart}; the two likeliest classes are {gap} apart.",
        }[row["why"]]
    return said + alike


def expectation(expected: dict[str, Any] | None, untold: str | None, *, labels: int, count: int) -> str:
    """What the labels should gain, in a sentence; or that it can't be told."""
    if expected is None:
        return f"Expected gain: can't be told. {untold}"
    name, tried = next(iter(expected["metrics"].items()))
    metric = _METRICS[name]
    more = {part: f"{number(tried[part]['value'])}{bounds(tried[part])}" for part in ("chosen", "random")}
    here = f"{number(expected['now']['value'])}{bounds(expected['now'])}"
    shown = "" if expected["now"]["low"] > 0.0 else "; chance alone may explain that"
    return (
        f"Expected gain: tried {expected['repeats']} times on labelled rows, {expected['added']} chosen labels on top "
        f"of {expected['start']} bettered the {metric} by {more['chosen']}, random ones by {more['random']} "
        f"(difference {number(tried['difference']['value'])}{bounds(tried['difference'])}). On top of the {labels:,} "
        f"there are, {count} may gain about {here}, if the error falls as one over the number of labels{shown}."
    )


def gained(one: Suggestion, gain: dict[str, Any], version: str) -> str:
    """What the labels of earlier suggested rows gained, in a sentence; `version` brought them."""
    rows = counted(len(one.rows), "row")
    came = f"{gain['labelled']} of {rows} suggested from {one.pool or one.dataset} have labels in {version}"
    if "untold" in gain:
        return f"{came}; what they gained can't be told: {gain['untold']}"
    return f"{came}. With them against without, on {gain['judged']:,} rows that had labels before: {gain['sentence']}."


def earlier(found: Iterable[Suggestion], *, of: str | None = None) -> list[dict[str, Any]]:
    """Suggestions whose labels came: what was expected, and what they gained.

    Args:
        found: the newest first.
        of: `name@version`: only those that were made from it, or that it brought labels for.
    """
    told = []
    for one in found:
        if one.gain is None or of not in (None, one.dataset, one.pool, one.gain["version"]):
            continue
        gain = {name: value for name, value in one.gain.items() if name != "version"}
        told.append(
            {
                "dataset": one.dataset,
                **({"pool": one.pool} if one.pool else {}),
                "at": one.at.isoformat(timespec="seconds"),
                "rows": len(one.rows),
                "expected": one.expected and one.expected["now"],
                "labelled_in": one.gain["version"],
                "gain": gain,
                "said": gained(one, gain, one.gain["version"]),
            }
        )
    return told[:MOST_EARLIER]
