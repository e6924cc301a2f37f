import keras
import numpy as np
import pytest

import keras_meta
from keras_meta.training.trainer_settings import adapted_variables


def model():
    trunk = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    head = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(1)])
    return keras.Sequential(
        [keras.Input((2,)), trunk, head, keras.layers.Reshape((1,))]
    )


def frozen_model():
    frozen = model()
    frozen.trainable = False
    return frozen


def test_adapt_chooses_variables():
    six = model()
    assert adapted_variables(six, "all") == [True] * 6
    assert adapted_variables(six, "head") == [False] * 4 + [True] * 2
    chosen = adapted_variables(six, lambda variable: variable.name == "bias")
    assert chosen == [False, True] * 3


def test_only_the_head_moves(make_trainer):
    trainer = make_trainer(model(), keras_meta.SGD(0.1), adapt="head")
    adapted = trainer.adapt(np.ones((3, 2)), np.full((3, 1), 9.0))
    moved = [
        not np.array_equal(new, old)
        for new, old in zip(adapted.weights, trainer.model.weights, strict=True)
    ]
    assert moved[:4] == [False] * 4 and any(moved[4:])


@pytest.mark.parametrize(
    "arguments, error, text",
    [
        ({"model": "m"}, TypeError, "`model` must be a `keras.Model`. Received.*'m'"),
        (
            {"model": keras.Sequential([keras.layers.Dense(1)])},
            ValueError,
            "`model` must be built .*built=False and 0 trainable.*keras.Input",
        ),
        (
            {"model": frozen_model()},
            ValueError,
            "built=True and 0 trainable variables",
        ),
        ({"inner_optimizer": "sgd"}, TypeError, "`inner_optimizer` must be.*'sgd'"),
        ({"inner_optimizer": None}, TypeError, "keras_meta.MetaSGD.*=None"),
        (
            {"inner_optimizer": keras.optimizers.Adam()},
            TypeError,
            "or a plain `keras.optimizers.SGD`. Received",
        ),
        (
            {"inner_optimizer": keras_meta.MetaSGD(use_ema=True)},
            ValueError,
            r"must not set \['use_ema'\]",
        ),
        ({"inner_steps": 0}, ValueError, "`inner_steps` must be an integer >= 1.*=0"),
        ({"inner_steps": True}, ValueError, "`inner_steps` must be an int.*=True"),
        ({"learn_initialization": "no"}, ValueError, "True or False. Received.*'no'"),
        ({"adapt": "tail"}, ValueError, "`adapt` must be.*'tail' for 6 trainable"),
        ({"adapt": [True]}, ValueError, r"list of bool.*\[True\] for 6"),
        ({"adapt": lambda v: False}, ValueError, "at least one variable.*chooses none"),
        (
            {"meta_gradient": "second"},
            ValueError,
            r"one of \['exact', 'first_order', 'reptile'\]",
        ),
        (
            {"meta_gradient": "reptile"},
            ValueError,
            "the initialisation only.*inner_optimizer=MetaSGD, with 6 learned",
        ),
        (
            {
                "meta_gradient": "reptile",
                "inner_optimizer": keras_meta.SGD(0.1),
                "multi_step_loss": 5,
            },
            ValueError,
            "no query loss.*Received: multi_step_loss=5",
        ),
        ({"inner_batch_size": 0}, ValueError, "`inner_batch_size` must be an.*=0"),
        ({"evaluation_steps": 0}, ValueError, "`evaluation_steps` must be an.*=0"),
        ({"remat": 1}, ValueError, "`remat` must be True or False. Received.*=1"),
        (
            {"multi_step_loss": [1.0], "inner_steps": 2},
            ValueError,
            r"a list of inner_steps=2 weights.*Received: multi_step_loss=\[1.0\]",
        ),
        ({"multi_step_loss": [-1.0]}, ValueError, "weights >= 0"),
        ({"multi_step_loss": [0.0]}, ValueError, "not all 0"),
        ({"multi_step_loss": True}, ValueError, "Received: multi_step_loss=True"),
        ({"multi_step_loss": 0}, ValueError, "an integer >= 1"),
        ({"task_reduction": 3}, ValueError, "`task_reduction` must be one of"),
        ({"task_axis": "rows"}, ValueError, "`task_axis` must be one of.*'rows'"),
        ({"batch_statistics": 1}, ValueError, r"\['task', 'running'\]. Received.*=1"),
        ({"seed": 2**32}, ValueError, r"less than 2\*\*32. Received: seed=4294967296"),
        ({"seed": -1}, ValueError, "`seed` must be an int >= 0.*-1"),
        (
            {"inner_optimizer": keras_meta.SGD(), "learn_initialization": False},
            ValueError,
            "nothing to learn: learn_initialization=False, and SGD has no theta",
        ),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
def test_wrong_arguments_are_refused(arguments, error, text):
    arguments = {"model": model(), "inner_optimizer": keras_meta.MetaSGD()} | arguments
    with pytest.raises(error, match=text):
        keras_meta.MetaTrainer(**arguments)


def test_a_plain_keras_sgd_is_taken():
    trainer = keras_meta.MetaTrainer(
        model(), keras.optimizers.SGD(0.25, momentum=0.5, nesterov=True)
    )
    inner = trainer.inner_optimizer
    assert isinstance(inner, keras_meta.SGD)
    assert (float(inner.learning_rate), inner.momentum, inner.nesterov) == (
        0.25,
        0.5,
        True,
    )


def test_variables_must_not_be_frozen_later(make_trainer):
    trainer = make_trainer()
    trainer.model.layers[0].trainable = False
    with pytest.raises(ValueError, match="Received: 2 instead of 4. Set `trainable`"):
        trainer.adapt(np.ones((3, 1)), np.ones((3, 1)))


def test_keras_random_seed_decides_on_seeds_that_are_not_given():
    def drawn():
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        optimizer = keras_meta.MetaSGD()
        return optimizer.seed, keras_meta.MetaTrainer(model, optimizer).seed

    keras.utils.set_random_seed(5)
    first = drawn()
    assert drawn() != first
    keras.utils.set_random_seed(5)
    assert drawn() == first
