"""Meta-trains with every `task_reduction` while a share of the tasks is faulty.

Meta-SGD, one inner step, on the sinusoids of `sinusoid_table.py`, 10 shots. A share
of the training tasks is faulty: the labels of support and query together are
permuted, and multiplied by 1 (shuffled labels: no relation is left to learn) or by 10
(a broken sensor). The test tasks are clean: mean squared error after one step on 600
tasks, the same for all, with 95 % intervals over tasks, for five seeds of
initialisation and training tasks. Equal iterations for all. Writes
`results/outlier_tasks.json`, anew after each seed.

    python benchmarks/outlier_tasks.py [--iterations 10000] [--quick]
"""

import argparse
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf
from recording import machine, write_json

import keras_meta
from keras_meta.tasks import Episode, Sinusoid, TaskDistribution, counter_random

HERE = pathlib.Path(__file__).parent
REDUCTIONS = ("mean", "median", "trimmed_mean", "cvar", "huber")
# Share of faulty tasks, and the factor on their permuted labels.
FAULTS = ((0.0, 1.0), (0.05, 1.0), (0.2, 1.0), (0.05, 10.0), (0.2, 10.0))
SEEDS = (0, 1, 2, 3, 4)
SHOTS = 10
TEST_TASKS = 600
TEST_QUERIES = 100
META_BATCH_SIZE = 16
# Chosen for the mean on clean tasks, with seeds and test tasks that are not used
# here. The rate falls to zero along a half cosine: where it stays, what is measured
# is mostly at which wave of training the last iteration fell.
OUTER_RATE = 3e-3
ALPHA_INIT = (0.005, 0.02)


class FaultyTasks(TaskDistribution):
    """Regression tasks of which a share has permuted labels.

    Share and factor are variables, so that one compiled meta-step serves all of them.

    Args:
        tasks: `TaskDistribution` with float labels `(examples, 1)`.
    """

    def __init__(self, tasks):
        self.tasks = tasks
        self.share = tf.Variable(0.0, trainable=False)
        self.factor = tf.Variable(1.0, trainable=False)

    def sample(self, seed):
        """Returns the episode of `seed`; which tasks are faulty is drawn from it."""
        support_x, support_y, query_x, query_y = self.tasks.sample(seed)
        labels = tf.concat([support_y, query_y], axis=0)  # (examples, 1)
        examples = labels.shape[0]
        # Stream 0 is that of the tasks themselves.
        faulty = counter_random.uniform(seed, (), stream=1) < self.share
        order = counter_random.choose(seed, examples, examples, stream=2)
        permuted = self.factor * tf.gather(labels, order)
        labels = tf.where(faulty, permuted, labels)
        support_y, query_y = tf.split(labels, [support_x.shape[0], query_x.shape[0]])
        return Episode(support_x, support_y, query_x, query_y)


class Learner:
    """One compiled meta-step, trained from its start again and again."""

    def __init__(self, reduction, iterations):
        self.reduction = reduction
        self.iterations = iterations
        self.trainer = new_trainer(reduction, seed=0, iterations=iterations)
        self.tasks = FaultyTasks(Sinusoid(shots=SHOTS, queries=SHOTS))
        self.test_tasks = Sinusoid(shots=SHOTS, queries=TEST_QUERIES)

    def run(self, share, factor, seed):
        """Meta-trains on faulty tasks; returns the loss on clean ones."""
        fresh = new_trainer(self.reduction, seed, self.iterations)
        for old, new in (
            (self.trainer.trainable_variables, fresh.trainable_variables),
            (self.trainer.optimizer.variables, fresh.optimizer.variables),
        ):
            for variable, value in zip(old, new, strict=True):
                variable.assign(value)
        # Meta-step n trains on the tasks 16 n to 16 n + 15: other tasks for each seed.
        self.trainer.meta_step.assign(seed * self.iterations)
        self.tasks.share.assign(share)
        self.tasks.factor.assign(factor)
        self.trainer.fit(
            self.tasks,
            meta_batch_size=META_BATCH_SIZE,
            steps_per_epoch=self.iterations,
            verbose=0,
        )
        loss = self.trainer.evaluate(self.test_tasks, episodes=TEST_TASKS, verbose=0)[
            "loss"
        ]
        return {"seed": seed, "mean": loss["mean"][1], "ci95": loss["ci95"][1]}


def new_trainer(reduction, seed, iterations):
    """Returns a compiled trainer whose network and rates belong to `seed`."""
    keras.utils.set_random_seed(seed)
    network = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(40, "relu", kernel_initializer="he_normal"),
            keras.layers.Dense(40, "relu", kernel_initializer="he_normal"),
            keras.layers.Dense(1, kernel_initializer="he_normal"),
        ]
    )
    trainer = keras_meta.MetaTrainer(
        network,
        keras_meta.MetaSGD(alpha_init=ALPHA_INIT, seed=seed),
        task_reduction=reduction,
        seed=0,
    )
    rate = keras.optimizers.schedules.CosineDecay(OUTER_RATE, iterations)
    trainer.compile(keras.optimizers.Adam(rate), loss="mse", jit_compile=True)
    return trainer


def summary(case, runs):
    """Returns a row: the mean over seeds, and the mean of their half-widths.

    The test tasks are the same for every seed, so the interval over tasks of the
    mean over seeds is at most as wide as the mean of their intervals. What differs
    between seeds is in `runs`.
    """
    share, factor, reduction = case
    return {
        "share": share,
        "factor": factor,
        "reduction": reduction,
        "mean": float(np.mean([run["mean"] for run in runs])),
        "ci95": float(np.mean([run["ci95"] for run in runs])),
        "runs": runs,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--output", default=HERE / "results" / "outlier_tasks.json")
    options = parser.parse_args()
    iterations = 200 if options.quick else options.iterations
    seeds = SEEDS[:1] if options.quick else SEEDS
    start = time.perf_counter()
    learners = [Learner(reduction, iterations) for reduction in REDUCTIONS]
    runs = {}
    for seed in seeds:
        for share, factor in FAULTS:
            for learner in learners:
                case = (share, factor, learner.reduction)
                result = learner.run(share, factor, seed)
                runs.setdefault(case, []).append(result)
                print(*case, result, flush=True)
        write_json(
            options.output,
            {
                "machine": machine(),
                "iterations": iterations,
                "meta_batch_size": META_BATCH_SIZE,
                "shots": SHOTS,
                "test_tasks": TEST_TASKS,
                "seeds": [run["seed"] for run in runs[case]],
                "seconds": time.perf_counter() - start,
                "rows": [summary(case, results) for case, results in runs.items()],
            },
        )


if __name__ == "__main__":
    main()
