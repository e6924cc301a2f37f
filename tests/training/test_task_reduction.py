import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_meta
from keras_meta.training.task_reduction import check_task_reduction, reduce_tasks


def test_a_callable_gets_its_own_gradient():
    """d(sum l^2)/dw = sum 2 l dl/dw, by hand: 2*1*[1, 0] + 2*3*[0, 2] = [2, 12]."""
    losses = tf.constant([1.0, 3.0])
    gradients = [tf.constant([[1.0, 0.0], [0.0, 2.0]])]
    loss, (gradient,) = reduce_tasks(
        lambda losses: tf.reduce_sum(losses**2), losses, gradients
    )
    assert float(loss) == 10.0
    np.testing.assert_array_equal(gradient, [2.0, 12.0])
    loss, (gradient,) = reduce_tasks("mean", losses, gradients)
    assert float(loss) == 2.0
    np.testing.assert_array_equal(gradient, [0.5, 1.0])


def test_fit_follows_the_reduction(make_trainer, linear_model, dataset_of, episode):
    """With max, the meta-step is that of the task with the larger loss alone."""
    easy = (*episode[:3], episode[3] * 0.01)
    hard = (*episode[:3], episode[3] + 5.0)

    def moved(episodes, **kwargs):
        outer = keras.optimizers.SGD(0.1)
        trainer = make_trainer(linear_model(), keras_meta.SGD(0.1), outer, **kwargs)
        trainer.fit(dataset_of(*episodes), meta_batch_size=len(episodes), verbose=0)
        return trainer.model.get_weights()[0]

    np.testing.assert_allclose(
        moved([easy, hard], task_reduction=tf.reduce_max), moved([hard]), rtol=1e-6
    )


@pytest.mark.parametrize("value", ["median", ["mean"], None, 3])
def test_other_reductions_are_refused(value):
    with pytest.raises(
        ValueError,
        match=r"`task_reduction` must be one of \['mean'\] or a callable .*Received",
    ):
        check_task_reduction(value)
