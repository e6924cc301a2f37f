"""A KerasTuner tuner whose oracle starts from past searches."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import keras_tuner

from keras_meta.tuner.meta_oracle import MetaOracle

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras

    from keras_meta.tuner.search_types import Experiences, HyperModel, Objectives

OF_BAYESIAN_OPTIMIZATION = ("num_initial_points", "alpha", "beta")


class MetaTuner(keras_tuner.Tuner):
    """`keras_tuner.Tuner` with a `MetaOracle`, in the place of another tuner.

    Where a program has `keras_tuner.BayesianOptimization(...)`, or another tuner of
    KerasTuner, `MetaTuner(...)` with the same arguments searches on; `experience` lets
    it begin with what was learned before.

    Args:
        hypermodel: `keras_tuner.HyperModel`, or function of
            `keras_tuner.HyperParameters` that returns a compiled model.
        objective: see `MetaOracle`.
        max_trials: see `MetaOracle`.
        experience: see `MetaOracle`.
        task_description: see `MetaOracle`.
        task_name: see `MetaOracle`.
        rename: see `MetaOracle`.
        fidelity: see `MetaOracle`.
        learn: see `MetaOracle`.
        seed: see `MetaOracle`.
        hyperparameters: see `MetaOracle`.
        tune_new_entries: see `MetaOracle`.
        allow_new_entries: see `MetaOracle`.
        max_retries_per_trial: see `MetaOracle`.
        max_consecutive_failed_trials: see `MetaOracle`.
        num_initial_points: of `keras_tuner.BayesianOptimization`; it has no
            counterpart here and is ignored, with a warning.
        alpha: as `num_initial_points`.
        beta: as `num_initial_points`.
        **kwargs: see `keras_tuner.Tuner`: `directory`, `project_name`, `overwrite`,
            `executions_per_trial`, `distribution_strategy`, ...

    Example:

    ```python
    tuner = keras_meta.tuner.MetaTuner(
        build_model, "val_accuracy", max_trials=20, experience="searches.sqlite",
        directory="searches", project_name="new_shop",
    )
    tuner.search(x, y, validation_split=0.2, epochs=5)
    model = tuner.get_best_models()[0]
    ```
    """

    def __init__(
        self,
        hypermodel: HyperModel | None = None,
        objective: Objectives = None,
        max_trials: int = 10,
        num_initial_points: int | None = None,
        alpha: float | None = None,
        beta: float | None = None,
        seed: int | None = None,
        hyperparameters: keras_tuner.HyperParameters | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        experience: Experiences = None,
        task_description: Mapping[str, float] | None = None,
        task_name: str | None = None,
        rename: Mapping[str, str] | None = None,
        fidelity: str | None = None,
        learn: bool = True,
        **kwargs: Any,
    ) -> None:
        given = zip(
            OF_BAYESIAN_OPTIMIZATION, (num_initial_points, alpha, beta), strict=True
        )
        ignored = [name for name, value in given if value is not None]
        if ignored:
            warnings.warn(
                f"MetaTuner ignores {', '.join(ignored)}: the prior says where to "
                "begin, and noise and exploration are fitted.",
                stacklevel=2,
            )
        oracle = MetaOracle(
            objective=objective,
            max_trials=max_trials,
            experience=experience,
            task_description=task_description,
            task_name=task_name,
            rename=rename,
            fidelity=fidelity,
            learn=learn,
            seed=seed,
            hyperparameters=hyperparameters,
            tune_new_entries=tune_new_entries,
            allow_new_entries=allow_new_entries,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
        )
        super().__init__(oracle=oracle, hypermodel=hypermodel, **kwargs)
        self.fidelity = fidelity
        if fidelity and self.executions_per_trial > 1:
            raise ValueError(
                "Argument `fidelity` needs executions_per_trial=1: a trial that is "
                "stopped has one learning curve. Received: executions_per_trial="
                f"{self.executions_per_trial}."
            )

    def _run_and_update_trial(self, trial, *args, **kwargs):
        """As KerasTuner's; with `fidelity` each epoch was reported already."""
        if not self.fidelity:
            super()._run_and_update_trial(trial, *args, **kwargs)
            return
        self.run_trial(trial, *args, **kwargs)
        name = self.oracle.objective.name
        if not self.oracle.get_trial(trial.trial_id).metrics.exists(name):
            raise keras_tuner.errors.FatalTypeError(
                'fidelity="epochs" needs trials that train by Keras\' `fit` with the '
                f"callbacks that they are given. No epoch of trial {trial.trial_id} "
                f"was reported with {name}."
            )

    def on_epoch_end(
        self,
        trial: keras_tuner.engine.trial.Trial,
        model: keras.Model,
        epoch: int,
        logs: dict[str, float] | None = None,
    ) -> None:
        """Reports the epoch to the oracle, with `fidelity`, and stops if it says so."""
        super().on_epoch_end(trial, model, epoch, logs)
        if not self.fidelity or self.oracle.objective.name not in (logs or {}):
            return  # `fit` may validate in some epochs alone.
        known = self.oracle.update_trial(trial.trial_id, dict(logs), step=epoch)
        if known.status == "STOPPED":
            model.stop_training = True
