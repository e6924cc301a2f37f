"""One task's adaptation: a differentiable unroll of an update rule."""

import keras
import tensorflow as tf

from keras_meta.training.recomputation import recomputed

# Up to here the steps are written out in the graph; beyond it a graph loop keeps
# tracing time constant. `vectorized_map` takes long to convert such a loop, so there
# the limit is higher.
MAX_UNROLLED_STEPS = 10
VECTORIZED_FACTOR = 3


class InnerLoop:
    """Adapts a model's parameters to a support set, step by step.

    Args:
        task_model: `TaskModel`.
        optimizer: `LearnedOptimizer`, whose pure `update` is unrolled.
        adapted: list of bool, one for each trainable variable: whether the inner
            loop changes it.
        remat: bool; if True, a step's intermediate values are not kept for the
            meta-gradient but computed again, so that memory grows by one copy of
            the adapted parameters and the optimizer's state a step.

    Attributes:
        vectorized: bool, whether it runs inside `tf.vectorized_map`.
        always_unrolled: bool, whether no number of steps becomes a graph loop.
    """

    def __init__(self, task_model, optimizer, adapted, remat=False):
        self.task_model = task_model
        self.optimizer = optimizer
        self.adapted = adapted
        self.remat = remat
        self.vectorized = False
        self.always_unrolled = False

    def run(
        self,
        theta,
        parameters,
        others,
        x,
        y,
        num_steps,
        batches=None,
        after_step=None,
        observe_start=True,
        hold_gradients=False,
    ):
        """Takes `num_steps` steps on the support set.

        Args:
            theta: dict from name to tensor.
            parameters: list of tensors, all trainable ones.
            others: list of tensors, the non-trainable values.
            x: support inputs, leading axis examples.
            y: support targets.
            num_steps: int >= 0.
            batches: None, or int64 `(num_steps, batch_size)`: the examples that
                each step sees.
            after_step: None, or a function of `(parameters, others)` to a dict of
                tensors, called after each step.
            observe_start: bool, whether `after_step` is called before the first
                step too.
            hold_gradients: bool; if True, meta-gradients treat the inner gradients
                as constants.

        Returns:
            Tuple `(parameters, others, history)`; history is None, or the dict with
            those stacked, `(num_steps, ...)`, one more with `observe_start`.
        """
        moving = self._chosen(parameters)
        state = self.optimizer.initial_state(theta, moving)
        # Read here: a loop whose steps are recomputed cannot read variables.
        own_variables = [(v, tf.convert_to_tensor(v)) for v in self.optimizer.variables]

        def take_step(theta, parameters, moving, state, others, index):
            seen_x, seen_y = x, y
            if batches is not None:
                rows = tf.gather(batches, index)
                seen_x, seen_y = tf.nest.map_structure(
                    lambda part: tf.gather(part, rows), (x, y)
                )
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(moving)
                full = self._merged(parameters, moving)
                loss, _, others = self.task_model.loss(
                    full, others, seen_x, seen_y, True
                )
            gradients = tape.gradient(
                loss, moving, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            # An embedding's are sparse (`tf.IndexedSlices`).
            gradients = [tf.convert_to_tensor(g) for g in gradients]
            if hold_gradients:
                gradients = [tf.stop_gradient(g) for g in gradients]
            with keras.StatelessScope(own_variables):
                moving, state = self.optimizer.pure_step(
                    theta,
                    state,
                    gradients,
                    moving,
                    index,
                    loss=tf.stop_gradient(loss) if hold_gradients else loss,
                )
            return moving, state, others

        if self.remat:
            take_step = recomputed(take_step)

        def step(index, moving, state, others):
            return take_step(theta, parameters, moving, state, others, index)

        def observe(moving, others):
            return after_step(self._merged(parameters, moving), others)

        observe = observe if after_step else None
        start = (moving, state, others)
        limit = MAX_UNROLLED_STEPS * (VECTORIZED_FACTOR if self.vectorized else 1)
        if self.remat and not self.vectorized:
            # Written out, steps would be computed again all at once, and kept.
            limit = 1
        if num_steps > limit and not self.always_unrolled:
            moving, others, history = _looped(
                step, observe, start, num_steps, observe_start
            )
        else:
            moving, others, history = _unrolled(
                step, observe, start, num_steps, observe_start
            )
        return self._merged(parameters, moving), others, history

    def _chosen(self, parameters):
        return [
            parameter
            for parameter, adapted in zip(parameters, self.adapted, strict=True)
            if adapted
        ]

    def _merged(self, parameters, moving):
        moving = iter(moving)
        return [
            next(moving) if adapted else parameter
            for parameter, adapted in zip(parameters, self.adapted, strict=True)
        ]


def _unrolled(step, observe, start, num_steps, observe_start):
    moving, state, others = start
    history = [observe(moving, others)] if observe and observe_start else []
    for index in range(num_steps):
        moving, state, others = step(tf.constant(index), moving, state, others)
        if observe:
            history.append(observe(moving, others))
    if not observe:
        return moving, others, None
    stacked = {name: tf.stack([seen[name] for seen in history]) for name in history[0]}
    return moving, others, stacked


def _looped(step, observe, start, num_steps, observe_start):
    moving, state, others = start
    arrays = {}
    if observe:
        # Before the first step even if that is not wanted: it tells the shapes.
        for name, value in observe(moving, others).items():
            if not observe_start:
                value = tf.zeros_like(value)
            array = tf.TensorArray(
                value.dtype, num_steps + 1, element_shape=value.shape
            )
            arrays[name] = array.write(0, value)

    def body(index, moving, state, others, arrays):
        moving, state, others = step(index, moving, state, others)
        if observe:
            seen = observe(moving, others)
            arrays = {
                name: array.write(index + 1, seen[name])
                for name, array in arrays.items()
            }
        return index + 1, moving, state, others, arrays

    _, moving, _, others, arrays = tf.while_loop(
        lambda index, *_: index < num_steps,
        body,
        (tf.constant(0), moving, state, others, arrays),
        maximum_iterations=num_steps,
    )
    if not observe:
        return moving, others, None
    first = 0 if observe_start else 1
    return moving, others, {n: array.stack()[first:] for n, array in arrays.items()}
