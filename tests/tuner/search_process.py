"""One process of a search: alone, KerasTuner's chief, or a worker of it.

`run(folder, settings)` is what `test_search_faults.py` starts. `settings` has `pool`,
`project`, `trials`, `held`, a list of trial ids, and `file_size`, bytes or None. Each
trial appends "begin ID WORKER" to FOLDER/log; one that is held then waits for the file
FOLDER/go_ID. At its end it appends "end ID WORKER".
"""

import resource
import signal
import time

import keras_tuner

from keras_meta.tuner import MetaOracle


def score(values):
    return 1.0 - (values["rate"] - 0.3) ** 2 - 0.001 * abs(values["units"] - 20)


def declare(hp):
    hp.Float("rate", 0.0, 1.0)
    hp.Int("units", 4, 64)


class HyperModel(keras_tuner.HyperModel):
    def build(self, hp):
        declare(hp)


class Search(keras_tuner.Tuner):
    def __init__(self, folder, held, **kwargs):
        self.folder, self.held = folder, held
        super().__init__(hypermodel=HyperModel(), directory=folder, **kwargs)

    def run_trial(self, trial):
        self.log("begin", trial)
        go = self.folder / f"go_{trial.trial_id}"
        while trial.trial_id in self.held and not go.exists():
            time.sleep(0.02)
        self.log("end", trial)
        return {"val_score": score(trial.hyperparameters.values)}

    def log(self, event, trial):
        with open(self.folder / "log", "a") as file:
            file.write(f"{event} {trial.trial_id} {self.tuner_id}\n")


def run(folder, settings):
    # A shell's background jobs are started deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if settings["file_size"] is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # A write fails instead.
        resource.setrlimit(resource.RLIMIT_FSIZE, (settings["file_size"],) * 2)
    oracle = MetaOracle(
        keras_tuner.Objective("val_score", "max"),
        max_trials=settings["trials"],
        experience=settings["pool"],
        seed=0,
    )
    oracle.verbose = 0
    search = Search(
        folder, settings["held"], oracle=oracle, project_name=settings["project"]
    )
    search.search()
