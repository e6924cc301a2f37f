"""Where the problems of an optimizer's meta-training come from."""

from collections.abc import Sequence
from typing import TypeAlias

from keras_meta.tasks.optimization_problem import OptimizationProblem
from keras_meta.training.task_source import TaskSource

Problems: TypeAlias = OptimizationProblem | Sequence[OptimizationProblem]


class ProblemSource(TaskSource):
    """One or several distributions of problems, in the place of episodes.

    Args:
        tasks: `OptimizationProblem`, or a list of them.
        stream: int; the first of the two numbers of every task seed.
        argument: str, the caller's name for `tasks`, for messages.

    Raises:
        TypeError: if it is neither.
        ValueError: for an empty list, or a problem without parameters.
    """

    def __init__(self, tasks, stream, argument="tasks"):
        self.tasks = tasks
        self.stream = stream
        self.is_dataset = False
        self.problems = tuple(tasks) if isinstance(tasks, (list, tuple)) else (tasks,)
        for problem in self.problems:
            if not isinstance(problem, OptimizationProblem):
                raise TypeError(
                    f"Argument `{argument}` must be a "
                    "`keras_meta.tasks.OptimizationProblem`, such as `TrainingProblem` "
                    f"or `Quadratic`, or a list of them. Received: "
                    f"{type(problem).__name__}. For episodes of support and query use "
                    "`keras_meta.MetaTrainer`."
                )
            if not problem.parameter_shapes:
                raise ValueError(
                    "Each problem must have parameters to optimise. Received: a "
                    f"{type(problem).__name__} without any."
                )
        if not self.problems:
            raise ValueError(
                f"Argument `{argument}` must hold at least one problem. Received: an "
                "empty list."
            )

    def example(self):
        """Returns `()`: problems are drawn where their runs begin."""
        return ()

    def first(self):
        """Returns the loss of each problem's first task, what workers compare."""
        seed = self.seeds([0])[0]
        return [problem.loss(*problem.sample(seed), seed) for problem in self.problems]

    def episodes(self, seeds, episodes):
        """Returns `()`: problems are drawn where their runs begin."""
        return ()

    def describe(self):
        """Returns JSON-able facts for a preset's card."""
        facts = [problem.describe() for problem in self.problems]
        return facts[0] if len(facts) == 1 else {"problems": facts}
