"""The trainer of learned optimizers: a Keras model over runs of other models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import keras

from keras_meta import presets
from keras_meta.tasks.task import check_count
from keras_meta.training import optimizer_preset
from keras_meta.training.learned_theta import LearnedTheta
from keras_meta.training.long_runs.imitation import Imitation
from keras_meta.training.long_runs.inner_runs import InnerRuns
from keras_meta.training.long_runs.long_run_engine import MAX_PROBLEMS, LongRunEngine
from keras_meta.training.long_runs.meta_objective import META_OBJECTIVES
from keras_meta.training.long_runs.problem_source import Problems, ProblemSource
from keras_meta.training.long_runs.rule_unroll import RuleUnroll
from keras_meta.training.long_runs.settings import (
    check_has_theta,
    check_runs,
    checked_horizon,
    checked_long_run_gradient,
)
from keras_meta.training.task_axis import has_accelerator
from keras_meta.training.trainer_settings import (
    check_no_loss,
    checked_choice,
    checked_flag,
    checked_number,
    learned_inner_optimizer,
)

if TYPE_CHECKING:
    import os

    from typing_extensions import Self

    from keras_meta.optimizers import LearnedOptimizer
    from keras_meta.tasks import OptimizationProblem
    from keras_meta.training.long_runs import ES, PES, Truncated

EXAMPLE = "keras_meta.LSTMOptimizer()"
TEACHER_EXAMPLE = "keras_meta.optimizers.Adam(0.01)"


@keras.saving.register_keras_serializable("keras_meta")
class OptimizerTrainer(LearnedTheta):
    """Meta-trains an optimizer on a family of training problems.

    The problems' runs go on from meta-step to meta-step: each meta-step takes the next
    `truncation` steps of every run, differentiates (or perturbs) the losses by the
    optimizer's theta, and lets the compiled (outer) optimizer change theta. A run that
    has reached its horizon begins anew on another problem; the first ones end early,
    so that a meta-batch holds runs of every age. With `LSTMOptimizer` inside it is
    "learning to learn by gradient descent" (Andrychowicz et al. 2016,
    arXiv:1606.04474).

    It is a `keras.Model`: progress bar, callbacks, checkpoints and
    `steps_per_execution` are Keras' own; runs are part of a checkpoint, so that a
    killed run goes on bit for bit with `BackupAndRestore`, if `seed` is given. A run
    that is no longer finite is left out, counted in the logs (`dropped`, a share), and
    begun anew. Clip the meta-gradient with the outer optimizer's `global_clipnorm`.

    It needs the TensorFlow backend; made in the scope of a `tf.distribute` strategy,
    its replicas share the runs. Memory with `"truncated"`: weights, gradients and the
    optimizer's state (320 bytes a weight for the default LSTM), times tasks, times
    `truncation`.

    Args:
        optimizer: `LearnedOptimizer` whose theta does not depend on the model, such
            as `keras_meta.LSTMOptimizer()`. Its theta is where training starts.
        horizon: int, steps of a run; or a pair (least, greatest), drawn uniformly in
            the logarithm for each run. Default 100.
        truncation: int >= 1 and at most the least horizon, steps of a meta-step.
            Horizons are rounded down to multiples of it. Default 20.
        meta_gradient: `"truncated"` (backpropagation through time), `"pes"` (Vicol et
            al. 2021), `"es"`, or an object such as `keras_meta.training.PES(0.03)`.
        meta_objective: `"mean"` of a window's losses, or `"log"`, the mean of their
            logarithms, for problems whose losses differ in scale and are positive
            (what is below 1e-8 counts as that).
        curriculum: int >= 0, meta-steps over which horizons grow from `truncation` to
            `horizon` (Chen et al. 2020, arXiv:2010.09089). Default 0: none.
        second_order: bool, whether truncated backpropagation goes through the inner
            gradients. Default False, as in the paper.
        task_clipnorm: float > 0 or None, the greatest norm of one run's
            meta-gradient. Default None.
        seed: int in [0, 2**32), which problems are drawn. Default: drawn itself.
        name: str.

    Raises:
        TypeError, ValueError: for arguments that cannot work; see the messages.

    Example:

    >>> import keras, keras_meta
    >>> trainer = keras_meta.OptimizerTrainer(keras_meta.LSTMOptimizer(seed=0), seed=0)
    >>> trainer.compile(keras.optimizers.Adam(1e-3))
    >>> history = trainer.fit(
    ...     keras_meta.tasks.Quadratic(), meta_batch_size=8, steps_per_epoch=2,
    ...     verbose=0)
    >>> result = trainer.evaluate(keras_meta.tasks.Quadratic(), episodes=8, verbose=0)
    >>> len(result["loss"]["mean"])  # before the first step, and after each
    101
    """

    source_class = ProblemSource
    max_steps_per_execution = 10  # A meta-step on networks takes a second or so.
    cures = "a shorter truncation"

    def __init__(
        self,
        optimizer: LearnedOptimizer,
        horizon: int | tuple[int, int] = 100,
        truncation: int = 20,
        meta_gradient: str | Truncated | PES | ES = "truncated",
        meta_objective: str = "mean",
        curriculum: int = 0,
        second_order: bool = False,
        task_clipnorm: float | None = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "OptimizerTrainer needs Keras' TensorFlow backend. Received: backend "
                f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow before "
                "importing keras."
            )
        super().__init__(None, seed, name)
        self.inner_optimizer = learned_inner_optimizer(optimizer, "optimizer", EXAMPLE)
        self.truncation = check_count("truncation", truncation)
        self.horizon = checked_horizon(horizon, self.truncation)
        self.meta_gradient = checked_long_run_gradient(meta_gradient)
        self.gradient_rule = self.meta_gradient
        self.meta_objective = checked_choice(
            "meta_objective", meta_objective, META_OBJECTIVES
        )
        self.objective = META_OBJECTIVES[meta_objective]
        self.curriculum = (
            0 if curriculum == 0 else check_count("curriculum", curriculum)
        )
        self.second_order = checked_flag("second_order", second_order)
        self.task_clipnorm = task_clipnorm
        if task_clipnorm is not None:
            self.task_clipnorm = checked_number(
                "task_clipnorm", task_clipnorm, lambda x: 0.0 < x, "above 0, or None"
            )
        self.evaluation_steps = self.horizon[1]
        self._engines = {}
        self.runs = []
        self._runs_of = lambda: (None, None, None)
        self._add_theta()
        check_has_theta(self.inner_optimizer, self._theta_names)
        self._trackers = tuple(keras.metrics.Mean(n) for n in ("loss", "dropped"))
        self._add_counters()
        self.built = True

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "adam",
        loss: None = None,
        metrics: None = None,
        **kwargs: Any,
    ) -> None:
        """As `MetaTrainer.compile`, without loss and metrics: problems have a loss."""
        check_no_loss(loss, metrics)
        super().compile(optimizer, **kwargs)

    def fit(
        self,
        tasks: Problems | None = None,
        meta_batch_size: int = 16,
        teacher: LearnedOptimizer | keras.optimizers.SGD | None = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Meta-trains; as `keras.Model.fit`, with problems in the place of data.

        Args:
            tasks: `keras_meta.tasks.OptimizationProblem`, or a list of them; a
                meta-step then takes an equal number of runs on each.
            meta_batch_size: int >= 1, runs of a meta-step, a multiple of the number
                of problems.
            teacher: None, or an optimizer without theta such as
                `keras_meta.optimizers.Adam(0.01)`: a warm-up in which the runs are the
                teacher's and the optimizer learns to take its steps (Chen et al.
                2020); `loss` is then the squared difference of steps over the
                teacher's squared step. Call `fit` again without it, and with another
                `BackupAndRestore` folder, if there is one.
            **kwargs: as in `MetaTrainer.fit`: `steps_per_epoch`, `epochs`,
                `validation_tasks` (one problem), `validation_episodes`, `callbacks`,
                `verbose`, ... `val_loss` is the loss at the greatest horizon.

        Returns:
            `keras.callbacks.History`, with `loss`, the meta-objective of the windows,
            and `dropped`, the share of runs that were left out.

        Raises:
            FloatingPointError: if no run of a meta-step is finite.
        """
        check_runs(tasks, meta_batch_size, kwargs.get("validation_tasks"))
        self.gradient_rule = self.meta_gradient
        if teacher is not None:
            rule = learned_inner_optimizer(teacher, "teacher", TEACHER_EXAMPLE)
            self.gradient_rule = Imitation(rule)
        return super().fit(tasks, meta_batch_size, **kwargs)

    def evaluate(
        self,
        tasks: OptimizationProblem | None = None,
        episodes: int = 128,
        steps: int | None = None,
        meta_batch_size: int = 16,
        seed: int = 0,
        verbose: int | str = "auto",
        **kwargs: Any,
    ) -> dict[str, dict[str, list[float]]]:
        """Runs the optimizer on new problems and reports the loss after every step.

        Args:
            tasks: `keras_meta.tasks.OptimizationProblem`.
            episodes: int >= 2, how many problems.
            steps: int >= 1. Default: the greatest horizon.
            meta_batch_size: int >= 1, runs in one call of the graph.
            seed: int >= 0; the same seed gives the same problems, none of them those
                of training.
            verbose: 0, 1 or `"auto"`, as in Keras.

        Returns:
            `{"loss": {"mean": [before, after 1 step, ...], "ci95": [...]}, "dropped":
            ...}`: means over the problems and half-widths of their 95 % intervals;
            `"dropped"` is the share of runs whose loss is not finite.
        """
        if isinstance(tasks, (list, tuple)):
            raise TypeError(
                "`evaluate()` takes one problem, so that losses are of one scale. "
                f"Received: a {type(tasks).__name__} of {len(tasks)}. Call it for each."
            )
        steps = self.horizon[1] if steps is None else check_count("steps", steps)
        return self._evaluate(
            tasks, episodes, steps, meta_batch_size, seed, verbose, kwargs
        )

    def call(self, inputs: Any, training: bool = False) -> NoReturn:
        """Raises: an optimizer predicts nothing."""
        raise NotImplementedError(
            "An OptimizerTrainer makes no predictions. Take its optimizer "
            "(`trainer.learned_optimizer()`) and compile a model with it."
        )

    def check_episode(self, source: ProblemSource) -> None:
        """Raises for problems that cannot be trained on in such meta-batches."""
        count = len(source.problems)
        if count > MAX_PROBLEMS:
            raise ValueError(
                f"At most {MAX_PROBLEMS} problems can be trained on at once. "
                f"Received: {count}."
            )

    def prepare(self, source: ProblemSource) -> None:
        """Traces what is needed to know whether runs can be vectorized."""
        self.check_episode(source)
        self._engine_of(source)

    def settle_jit(self, source: ProblemSource) -> None:
        """Decides on XLA: on a GPU or TPU; on a CPU graphs are faster here."""
        jit = self._jit_choice
        if jit == "auto":
            jit = not self.run_eagerly and has_accelerator()
        self.jit_compile = jit

    def renew_functions(self) -> None:
        """As `EpisodicStep`'s; begins runs on the problems of `fit`, or goes on."""
        source = self.train_source
        count = len(source.problems)
        key = (source.problems, self.meta_batch_size, self.gradient_rule)
        begun = self._runs_of()
        if not all(
            new is old or new == old for new, old in zip(key, begun, strict=True)
        ):
            self.runs.clear()  # Keras' own list: it forgets their variables, too.
            theta = dict(zip(self._theta_names, self._theta_variables, strict=True))
            self.runs.extend(
                InnerRuns(
                    unroll,
                    self.gradient_rule,
                    theta,
                    self.meta_batch_size // count,
                    self.horizon,
                    self.truncation,
                    (index, count),
                )
                for index, unroll in enumerate(self._engine_of(source).unrolls)
            )
            self._runs_of = lambda: key  # In a function: Keras would track it.
            self._functions.pop("train", None)
        if self.validation_source:
            self._engine_of(self.validation_source)  # Now: later, Keras traces.
        super().renew_functions()

    def all_runs(self) -> list[InnerRuns]:
        """Returns the list of `InnerRuns`, one for each problem of `fit`."""
        return list(self.runs)

    def save_preset(self, path: str | os.PathLike, title: str | None = None) -> None:
        """Writes the learned optimizer to one `.kmeta` file.

        It holds theta, the trainer's settings and the last `evaluate()`. An existing
        file is replaced, whole or not at all.

        Args:
            path: str that ends in `.kmeta`.
            title: str, one line for the card.
        """
        optimizer_preset.save(self, path, title)

    @classmethod
    def from_preset(cls, name_or_path: str | os.PathLike) -> Self:
        """Returns a trainer that is ready to evaluate and train on.

        Raises:
            PresetError: if the file is damaged, or was not saved by such a trainer.
        """
        return optimizer_preset.trainer_of(cls, presets.load(name_or_path))

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "optimizer": keras.saving.serialize_keras_object(self.inner_optimizer),
            **optimizer_preset.trainer_config(self),
        }

    def _engine_of(self, source):
        key = tuple(id(problem) for problem in source.problems)
        kept = self._engines.get(key)
        if kept is None:
            unrolls = [
                RuleUnroll(problem, self.inner_optimizer, self.second_order)
                for problem in source.problems
            ]
            used = [
                s.problems for s in (self.train_source, self.validation_source) if s
            ]
            self._engines = {
                old: pair for old, pair in self._engines.items() if pair[1] in used
            }
            # The problems are kept with it, so that their ids stay their own.
            kept = (LongRunEngine(unrolls, self._theta_names, self), source.problems)
            self._engines[key] = kept
        return kept[0]
