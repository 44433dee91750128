"""How a training job spends its budget: batches of trials, each a durable step, then a choice.

What a batch found is what the next one is told, and it's all that they share: a job that was killed goes on from the
last completed batch and ends with the same model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mcp_server.jobs.steps import JobRun

TUNED = "tuned"
CANDIDATES = ("linear", "splines", "boosting", "extra_trees")
EXTRA = "lightgbm"
"""One more, where the extra `boost` is installed."""
TRIALS = 30  # where neither bound is stated
MOST_TRIALS = 500
BATCH = 4
# Boosting has the most to tune, a linear model one number, splines one more.
_TURNS = (
    *("linear", "splines", "boosting", "lightgbm", "extra_trees"),
    *("boosting", "splines", "lightgbm", "extra_trees", "boosting"),
)
_ENOUGH = {"linear": 12, "splines": 16}  # trials, where there are other candidates


class Tuning:
    """The tuning of one job.

    Args:
        candidates: algorithms that are tried.
        seconds: of computing trials, or None. What a killed attempt took isn't counted.
        trials: in all, or None.
    """

    def __init__(self, run: JobRun, candidates: Sequence[str], *, seconds: float | None, trials: int | None) -> None:
        self._run = run
        self._seconds = seconds
        self._trials = trials or (TRIALS if seconds is None else MOST_TRIALS)
        self._histories: dict[str, list[dict[str, Any]]] = {name: [] for name in candidates}
        self._spent: dict[str, float] = dict.fromkeys(candidates, 0.0)
        self._batches = dict.fromkeys(candidates, 0)

    async def chosen(self, arguments: dict[str, Any], *, share: tuple[float, float]) -> dict[str, Any]:
        """Spend the budget and choose.

        Args:
            arguments: of every step: path, plan, features, allow_leaks, seed.
            share: of the job's progress.
        Returns:
            members, calibration, half_width and account, which says what was tried, what won, by how much and at
            what cost.
        """
        # Every candidate has its defaults tried, whatever that takes.
        for algorithm in self._histories:
            await self._batch(algorithm, arguments, share, len(self._histories))
        turns = [name for name in _TURNS if name in self._histories]
        turn = len(self._histories)
        while self._left() > 0 and not self._out_of_time():
            algorithm = turns[turn % len(turns)]
            turn += 1
            alone = len(self._histories) == 1
            if not alone and len(self._histories[algorithm]) >= _ENOUGH.get(algorithm, MOST_TRIALS):
                continue
            await self._batch(algorithm, arguments, share, 1)
        ended_by = "trials" if self._left() <= 0 else "seconds"
        found = await self._run.step("choose", "choose_model", {**arguments, "histories": self._histories}, share=share)
        found["account"] |= {
            "ended_by": ended_by,
            "trials": self._count(),
            "seconds": round(sum(self._spent.values()) + found["seconds"], 1),
            "tried": [self._told(name) for name in self._histories],
        }
        return found

    async def _batch(self, algorithm: str, arguments: dict[str, Any], share: tuple[float, float], sharers: int) -> None:
        size = max(1, min(BATCH, self._trials // sharers, self._left()))
        done = self._count() / self._trials
        begin, end = share
        batch = await self._run.step(
            f"tune_{algorithm}_{self._batches[algorithm]}",
            "tune",
            {
                **arguments,
                "algorithm": algorithm,
                "history": self._histories[algorithm],
                "size": size,
                "seconds": None if self._seconds is None else max(0.0, self._seconds - sum(self._spent.values())),
            },
            share=(begin + (end - begin) * done, begin + (end - begin) * min(1.0, done + size / self._trials)),
        )
        self._batches[algorithm] += 1
        self._histories[algorithm] += batch["trials"]
        self._spent[algorithm] += batch["seconds"]

    def _count(self) -> int:
        return sum(map(len, self._histories.values()))

    def _left(self) -> int:
        return self._trials - self._count()

    def _out_of_time(self) -> bool:
        return self._seconds is not None and sum(self._spent.values()) >= self._seconds

    def _told(self, algorithm: str) -> dict[str, Any]:
        states = [trial["state"] for trial in self._histories[algorithm]]
        return {
            "algorithm": algorithm,
            "trials": len(states),
            "pruned": states.count("pruned"),
            "failed": states.count("failed"),
            "seconds": round(self._spent[algorithm], 1),
        }
