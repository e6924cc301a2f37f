"""What an experience pool gives out: plain records, nothing but facts."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class PastTrial:
    """Holds one trial of a past search.

    Attributes:
        values: dict of hyperparameter name to value (str, int, float, bool), the
            active ones only.
        score: finite float, the objective's value in the task's direction, or
            None: the trial is not finished, failed, or its score was not finite.
        status: str, KerasTuner's word: `"COMPLETED"`, `"FAILED"`, `"INVALID"`,
            `"RUNNING"`.
        trial_id: str, the id in its project, or None. KerasTuner may give an id
            out again: two trials of one task can have the same.
        best_step: int, the step that the score is of, or None.
        seconds: float >= 0, how long the trial ran, or None where nobody knows:
            KerasTuner's files do not say.
        message: str, why the trial failed or has no score, or None.
        metrics: dict of metric name to `{"direction": "min" or "max",
            "observations": [[step, value], ...]}`, steps ascending; a value that
            was not finite is None.
    """

    values: dict[str, Any]
    score: float | None = None
    status: str = "COMPLETED"
    trial_id: str | None = None
    best_step: int | None = None
    seconds: float | None = None
    message: str | None = None
    metrics: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class PastTask:
    """Holds one past search: what was searched, for what, and its trials.

    Attributes:
        name: str, unique in its pool.
        source: str, where the trials came from (a project's folder), or None.
        space: list of dicts, as `HyperParameters.get_config()["space"]` has them.
            `HyperParameters.from_config()` changes what it is given: pass a deep
            copy, `{"space": copy.deepcopy(task.space), "values": {}}`.
        objective: str, the metric that the scores are of.
        direction: `"min"` or `"max"`.
        description: dict of feature name to finite float, the description of the
            data set, or None.
        trials: list of `PastTrial`, in the order in which they were started.
    """

    name: str
    source: str | None
    space: list[dict[str, Any]]
    objective: str
    direction: str
    description: dict[str, float] | None
    trials: list[PastTrial]


@dataclasses.dataclass(frozen=True)
class ImportReport:
    """Says what an import changed.

    Attributes:
        tasks: list of str, the names of the tasks that were read, each once.
        added: int, trials that the pool did not have.
        updated: int, trials that have gone on since the pool saw them.
        unchanged: int, trials that the pool had.
        skipped: list of `(path, reason)`: files and projects that could not be
            read, and why.
    """

    tasks: list[str] = dataclasses.field(default_factory=list)
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def __add__(self, other: ImportReport) -> ImportReport:
        if not isinstance(other, ImportReport):
            return NotImplemented
        return ImportReport(
            tasks=list(dict.fromkeys(self.tasks + other.tasks)),
            added=self.added + other.added,
            updated=self.updated + other.updated,
            unchanged=self.unchanged + other.unchanged,
            skipped=self.skipped + other.skipped,
        )
