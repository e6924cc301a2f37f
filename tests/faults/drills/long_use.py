"""Many meta-steps and many searches in one process: nothing grows."""

import gc
import itertools
import os
import resource
import shutil

import keras

import keras_meta
from tests.faults.drills.outcome import Drill
from tests.faults.drills.searches import run_search

PARTS = 10  # The first three are for warming up.
MEBIBYTES = 24  # What the last part may take more than the first one that counts.


def many_meta_steps(folder, count):
    """Meta-trains for so many steps; memory and open files stay."""
    drill = Drill("meta-steps in one process")
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    trainer = keras_meta.MetaTrainer(model, keras_meta.MetaSGD(seed=0), seed=3)
    trainer.compile(keras.optimizers.Adam(0.001), "mse", jit_compile=False)
    tasks = keras_meta.tasks.Sinusoid(shots=3, queries=3)

    def part():
        trainer.fit(tasks, meta_batch_size=2, steps_per_epoch=count // PARTS, verbose=0)

    return _in_parts(drill, part, count)


def many_searches(folder, count):
    """Runs so many searches that learn into one pool; memory and open files stay."""
    drill = Drill("searches in one process")
    done = itertools.count()

    def part():
        for _ in range(count // PARTS):
            place = folder / f"{next(done)}"
            # No past: what there is to learn from would grow, too.
            run_search(place, 3, place.with_suffix(".sqlite"))
            shutil.rmtree(place)

    return _in_parts(drill, part, count)


def _in_parts(drill, part, count):
    memory, files = [], []
    for _ in range(PARTS):
        part()
        gc.collect()
        memory.append(_resident_mebibytes())
        files.append(len(os.listdir("/proc/self/fd")))
    assert files[-1] <= files[2], f"Open files grow: {files}."
    assert memory[-1] - memory[2] <= MEBIBYTES, f"Memory grows: {memory} MiB."
    grown = round(memory[-1] - memory[2])
    outcome = f"{grown:+d} MiB from 30 % on, {files[-1] - files[2]:+d} open files"
    drill.outcomes[outcome] = count
    return drill


def _resident_mebibytes():
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return pages * resource.getpagesize() / 2**20
