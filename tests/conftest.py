"""The order of the test files, and trials of searches that take less time."""

import gc

import pytest

# Few, long tests: a worker that takes such a file last keeps the others waiting.
FIRST = ("test_examples.py", "test_docs.py", "test_drills.py", "test_backends.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in FIRST)


@pytest.fixture(scope="module")
def quick_trials():
    """Searches of models, without what takes longer than their few epochs."""
    import keras_tuner

    fit = keras_tuner.HyperModel.fit

    def quick_fit(self, hp, model, *args, **kwargs):
        # To trace a model takes longer than to train it eagerly.
        model.run_eagerly, model.jit_compile = True, False
        # KerasTuner collects garbage before and after each trial, by looking through
        # all that lives: but not through what is frozen.
        gc.freeze()
        return fit(self, hp, model, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras_tuner.HyperModel, "fit", quick_fit)
        yield
    gc.unfreeze()
