"""Imitation: the rule proposes steps, a teacher takes them."""

import tensorflow as tf

from keras_meta.optimizers.state_tree import flat_state, nested_state
from keras_meta.training.long_runs.runs import Runs, Trajectory
from keras_meta.training.long_runs.window import WindowResult

# Squared moves below count as this, where the error is divided by them.
SMALLEST_SQUARE = 1e-16


class Imitation:
    """The gradient of how far the rule's steps are from a teacher's.

    Chen, Liu, Liu, Liu, Lin & Wang 2020, "Training stronger baselines for learning to
    optimize", arXiv:2010.09089, section 3.2: a learned optimizer first follows an
    analytic one. Here the runs are the teacher's. At each of its steps, from the same
    weights and gradient, the rule's step should be the teacher's: the objective is
    the squared difference over the teacher's squared step, both averaged over all
    weights of a run. Zeros have objective 1.

    Args:
        teacher: `LearnedOptimizer` without theta, whose state starts with zeros, such
            as `keras_meta.optimizers.Adam(0.01)`.

    Raises:
        ValueError: for another teacher.
    """

    particles = 1

    def __init__(self, teacher):
        self.teacher = teacher

    def carried(self, theta, unroll):
        """Returns the specs of the teacher's state.

        Raises:
            ValueError: if it has a theta, or does not start with zeros.
        """
        shapes = {
            f"parameter_{i}": s.shape for i, s in enumerate(unroll.parameter_specs)
        }
        if self.teacher.initial_theta(shapes, 0):
            raise ValueError(
                "Argument `teacher` must be an optimizer without theta, such as "
                "`keras_meta.optimizers.Adam(0.01)`. Received: "
                f"{type(self.teacher).__name__}, which is learned itself."
            )
        flat = self._started(unroll)
        if any(bool(tf.reduce_any(value != 0)) for _, _, value in flat):
            raise ValueError(
                "Argument `teacher` must be an optimizer whose state starts with "
                f"zeros. Received: {type(self.teacher).__name__}."
            )
        return [tf.TensorSpec(value.shape, value.dtype) for _, _, value in flat]

    def meta_gradient(self, window):
        """Lets the teacher take the window's steps; see `Truncated.meta_gradient`."""
        unroll, runs, num_steps = window.unroll, window.runs, window.num_steps
        teacher_specs = [
            tf.TensorSpec(value.shape[1:], value.dtype) for value in window.carried
        ]
        num_runs = runs.step.shape[0]
        keys = [(name, index) for name, index, _ in self._started(unroll)]

        def of_run(values):
            data, parameters, state, teacher_state, step, seed = values
            loss, gradients = unroll.loss_and_gradients(data, parameters, step, seed)
            proposed, state = unroll.take_step(
                window.theta, parameters, gradients, state, step, loss
            )
            taken, teacher_state = self.teacher.pure_step(
                {},
                nested_state(keys, teacher_state),
                gradients,
                parameters,
                step,
            )
            teacher_state = [v for _, _, v in flat_state(teacher_state, len(taken))]
            error, upstream = _relative_error(parameters, proposed, taken)
            return loss, gradients, taken, state, teacher_state, error, upstream

        scalar = tf.TensorSpec((), tf.float32)
        tensors = unroll.parameter_specs
        signature = (
            scalar,
            tensors,
            tensors,
            unroll.state_specs,
            teacher_specs,
            scalar,
            tensors,
        )
        kept = {
            "loss": [scalar],
            "error": [scalar],
            "parameters": tensors,
            "gradients": tensors,
            "state": unroll.state_specs,
            "upstream": tensors,
        }
        arrays = {
            name: [
                tf.TensorArray(
                    spec.dtype, num_steps, element_shape=(num_runs, *spec.shape)
                )
                for spec in specs
            ]
            for name, specs in kept.items()
        }

        def body(index, parameters, state, teacher_state, arrays):
            loss, gradients, taken, new_state, teacher_state, error, upstream = (
                unroll.map(
                    of_run,
                    (
                        window.data,
                        parameters,
                        state,
                        teacher_state,
                        runs.step + index,
                        runs.seed,
                    ),
                    signature,
                )
            )
            seen = {
                "loss": [loss],
                "error": [error],
                "parameters": parameters,
                "gradients": gradients,
                "state": state,
                "upstream": upstream,
            }
            arrays = {
                name: [
                    a.write(index, v)
                    for a, v in zip(arrays[name], seen[name], strict=True)
                ]
                for name in arrays
            }
            return index + 1, taken, new_state, teacher_state, arrays

        _, parameters, state, carried, arrays = tf.while_loop(
            lambda index, *_: index < num_steps,
            body,
            (
                tf.constant(0),
                list(runs.parameters),
                list(runs.state),
                list(window.carried),
                arrays,
            ),
            maximum_iterations=num_steps,
            parallel_iterations=1,
        )
        stacked = {name: [a.stack() for a in arrays[name]] for name in arrays}
        [losses], [errors] = stacked["loss"], stacked["error"]
        gradients = unroll.backward(
            window.theta,
            window.data,
            runs,
            Trajectory(
                losses, stacked["parameters"], stacked["gradients"], stacked["state"]
            ),
            [upstream / num_steps for upstream in stacked["upstream"]],
            chained=False,
        )
        ended = Runs(parameters, state, runs.step + num_steps, runs.seed)
        values = tf.reduce_mean(errors, axis=0)
        return WindowResult(values, gradients, losses, ended, carried)

    def _started(self, unroll):
        """Returns the teacher's state, flat, where all weights are one."""
        parameters = [tf.ones(s.shape, s.dtype) for s in unroll.parameter_specs]
        state = self.teacher.initial_state({}, parameters)
        return flat_state(state, len(parameters))


def _relative_error(parameters, proposed, taken):
    """Returns the error of a proposed step, and its derivative by the proposal."""
    moves = [t - p for t, p in zip(taken, parameters, strict=True)]
    square = tf.add_n([tf.reduce_sum(tf.square(m)) for m in moves])
    scale = 1.0 / tf.maximum(square, SMALLEST_SQUARE)
    missed = [p - t for p, t in zip(proposed, taken, strict=True)]
    error = scale * tf.add_n([tf.reduce_sum(tf.square(m)) for m in missed])
    return error, [2.0 * scale * m for m in missed]
