"""One task's adaptation: a differentiable unroll of an update rule."""

import tensorflow as tf

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
        first_order: bool; if True, meta-gradients treat the inner gradients as
            constants (FOMAML, Finn et al. 2017, section 5.2).

    Attributes:
        vectorized: bool, whether it runs inside `tf.vectorized_map`.
        always_unrolled: bool, whether no number of steps becomes a graph loop.
    """

    def __init__(self, task_model, optimizer, adapted, first_order):
        self.task_model = task_model
        self.optimizer = optimizer
        self.adapted = adapted
        self.first_order = first_order
        self.vectorized = False
        self.always_unrolled = False

    def run(self, theta, parameters, others, x, y, num_steps, after_step=None):
        """Takes `num_steps` steps on the support set.

        Args:
            theta: dict from name to tensor.
            parameters: list of tensors, all trainable ones.
            others: list of tensors, the non-trainable values.
            x: support inputs, leading axis examples.
            y: support targets.
            num_steps: int >= 0.
            after_step: None, or a function of `(parameters, others)` to a dict of
                tensors, called before the first step and after each.

        Returns:
            Tuple `(parameters, others, history)`; history is None, or the dict with
            those stacked, `(num_steps + 1, ...)`.
        """
        moving = self._chosen(parameters)
        state = self.optimizer.initial_state(theta, moving)

        def step(index, moving, state, others):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(moving)
                full = self._merged(parameters, moving)
                loss, _, others = self.task_model.loss(full, others, x, y, True)
            gradients = tape.gradient(
                loss, moving, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            if self.first_order:
                gradients = [tf.stop_gradient(g) for g in gradients]
            moving, state = self.optimizer.pure_step(
                theta, state, gradients, moving, index
            )
            return moving, state, others

        def observe(moving, others):
            return after_step(self._merged(parameters, moving), others)

        limit = MAX_UNROLLED_STEPS * (VECTORIZED_FACTOR if self.vectorized else 1)
        if num_steps > limit and not self.always_unrolled:
            return self._loop(
                step,
                observe if after_step else None,
                parameters,
                state,
                others,
                num_steps,
            )
        history = [observe(moving, others)] if after_step else []
        for index in range(num_steps):
            moving, state, others = step(tf.constant(index), moving, state, others)
            if after_step:
                history.append(observe(moving, others))
        stacked = (
            {name: tf.stack([h[name] for h in history]) for name in history[0]}
            if after_step
            else None
        )
        return self._merged(parameters, moving), others, stacked

    def _loop(self, step, observe, parameters, state, others, num_steps):
        moving = self._chosen(parameters)
        arrays, first = {}, observe(moving, others) if observe else {}
        for name, value in first.items():
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
        history = {name: a.stack() for name, a in arrays.items()} if observe else None
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
