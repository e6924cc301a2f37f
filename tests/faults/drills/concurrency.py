"""Several processes and threads at once: one pool, and trainers side by side."""

import multiprocessing
import threading

import keras
import numpy as np

import keras_meta
from keras_meta.presets import load
from keras_meta.tuner import ExperiencePool
from tests.faults.drills.outcome import Drill
from tests.faults.drills.projects import write_project
from tests.faults.drills.searches import run_search

TRIALS = 5
PATIENCE = 300.0


def two_writers(folder, count):
    """Two processes add to one pool, to tasks of their own and to one of both."""
    drill = Drill("two processes write one pool, own tasks and a shared one")
    path = folder / "pool.sqlite"
    context = multiprocessing.get_context("fork")
    _together(
        [
            context.Process(target=_write, args=(path, name, count, shift))
            for name, shift in (("a", 0), ("b", 1))
        ]
    )
    counts = {task.name: len(task.trials) for task in ExperiencePool(path).tasks()}
    expected = count * TRIALS
    assert counts == {"a": expected, "b": expected, "shared": 2 * expected}, counts
    drill.outcomes["every trial once"] = 2 * count
    return drill


def search_and_import(folder, count):
    """A search learns into a pool while another process imports into it."""
    drill = Drill("a search and an import write one pool at once")
    context = multiprocessing.get_context("fork")
    for number in range(40):
        write_project(folder / "old" / f"search_{number}", TRIALS, seed=number)
    for number in range(count):
        path = folder / f"{number}.sqlite"
        ExperiencePool(path)
        place = folder / f"{number}"
        _together(
            [
                context.Process(target=run_search, args=(place, 6, path)),
                context.Process(target=_import, args=(path, folder / "old")),
            ]
        )
        tasks = ExperiencePool(path).tasks()
        counts = sorted(len(task.trials) for task in tasks)
        assert counts == [TRIALS] * 40 + [6], counts
        ids = [
            t.trial_id for task in tasks for t in task.trials if len(task.trials) == 6
        ]
        assert sorted(ids) == [str(i) for i in range(6)]
        drill.record("every trial once")
    return drill


def workers(folder, count):
    """Forked and spawned workers share a pool and load a preset."""
    drill = Drill("`fork` and `spawn` workers: a pickled pool, a preset, an optimizer")
    each = max(1, count // 4)
    # Before anything of TensorFlow has run here: it cannot be forked after.
    for method in ("fork", "spawn"):
        pool = ExperiencePool(folder / f"{method}.sqlite")
        context = multiprocessing.get_context(method)
        for _ in range(each):
            path = folder / f"{method}.npz"
            _together(
                [
                    context.Process(target=_work, args=(pool, path, str(number)))
                    for number in range(2)
                ]
            )
            drill.outcomes[f"{method}: every trial once, the step as elsewhere"] += 2
        assert sorted(task.name for task in pool.tasks()) == ["0", "1"]
        assert pool.num_trials == 2 * TRIALS
    steps = [
        np.load(folder / f"{method}.npz.{number}.npy")
        for method in ("fork", "spawn")
        for number in range(2)
    ]
    for step in steps[1:]:
        np.testing.assert_array_equal(step, steps[0])
    return drill


def two_threads(folder, count):
    """Two threads train two trainers at once; each ends as it does alone."""
    drill = Drill("two threads train a `MetaTrainer` each")
    alone = [_trained(seed) for seed in (0, 1)]
    assert any((a != b).any() for a, b in zip(*alone, strict=True))
    for _ in range(count):
        results, faults = {}, []

        def train(seed, results=results, faults=faults):
            try:
                results[seed] = _trained(seed)
            except Exception as error:  # Told by the main thread, below.
                faults.append(error)

        threads = [threading.Thread(target=train, args=(seed,)) for seed in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert not faults, faults
        for seed in (0, 1):
            for value, right in zip(results[seed], alone[seed], strict=True):
                np.testing.assert_array_equal(value, right)
        drill.record("each bit for bit as alone")
    return drill


def _together(processes):
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()
            raise AssertionError("A process did not end.")
        assert process.exitcode == 0, process.exitcode


def _write(path, name, count, shift):
    for index in range(count):
        pool = ExperiencePool(path)
        for task, offset in ((name, 0), ("shared", shift * count * TRIALS)):
            scores = [offset + index * TRIALS + i for i in range(TRIALS)]
            trials = [{"values": {"rate": s / 1e6}, "score": s} for s in scores]
            assert pool.add(task, [], trials, "val_loss").added == TRIALS


def _import(path, directory):
    report = ExperiencePool(path).import_project(directory)
    assert report.added == 40 * TRIALS


def _work(pool, path, name):
    trials = [{"values": {"rate": i / 10}, "score": float(i)} for i in range(TRIALS)]
    pool.add(name, [], trials, "val_loss")
    optimizer = load("lstm_default").optimizer()
    weights = keras.Variable(np.linspace(-1.0, 1.0, 6, dtype="float32"))
    for _ in range(3):
        optimizer.apply([2.0 * weights.value], [weights])
    np.save(f"{path}.{name}.npy", np.array(weights))


def _trained(seed):
    initializer = keras.initializers.GlorotUniform
    model = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(
                3, "tanh", kernel_initializer=initializer(seed=seed), name="first"
            ),
            keras.layers.Dense(1, kernel_initializer=initializer(seed=seed)),
        ]
    )
    trainer = keras_meta.MetaTrainer(model, keras_meta.MetaSGD(seed=seed), seed=seed)
    trainer.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=False)
    tasks = keras_meta.tasks.Sinusoid(shots=3, queries=3)
    trainer.fit(tasks, meta_batch_size=2, steps_per_epoch=5, verbose=0)
    return [np.array(v) for v in trainer.weights]
