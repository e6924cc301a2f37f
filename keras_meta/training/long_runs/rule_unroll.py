"""Runs of an update rule on a batch of problems: forward, and back through time."""

import tensorflow as tf

from keras_meta.optimizers.state_tree import flat_state, nested_state
from keras_meta.training.distributed.whole_loss import whole_losses
from keras_meta.training.long_runs.runs import Runs, Trajectory
from keras_meta.training.task_axis import can_trace, map_tasks

# The mini-batch of step t of the task of seed (stream, n) is drawn from
# (stream + BATCH_STREAMS, n * MAX_STEPS + t): apart from all seeds of tasks.
BATCH_STREAMS = 2**40
MAX_STEPS = 2**20


class RuleUnroll:
    """Unrolls one `LearnedOptimizer` on problems of one distribution.

    The backward pass is taken step by step, each inside the map over runs, from the
    states that the forward pass kept; a step's intermediate values are computed again.
    So memory grows by one copy of iterates, gradients and rule's state a step; each
    run has a meta-gradient of its own; and XLA compiles it.

    Args:
        problem: `OptimizationProblem`.
        rule: `LearnedOptimizer`.
        second_order: bool. False takes the inner gradients for constants, as
            Andrychowicz et al. 2016 do (section 2.1).
    """

    def __init__(self, problem, rule, second_order):
        self.problem = problem
        self.rule = rule
        self.second_order = second_order
        spec = problem.element_spec
        self.parameter_specs = list(spec.parameters)
        ones = [tf.ones(s.shape, s.dtype) for s in self.parameter_specs]
        specs = {f"parameter_{i}": s.shape for i, s in enumerate(self.parameter_specs)}
        theta = rule.initial_theta({n: tuple(s) for n, s in specs.items()}, rule.seed)
        theta = {name: tf.convert_to_tensor(value) for name, value in theta.items()}
        flat = flat_state(rule.initial_state(theta, ones), len(ones))
        _check_state(rule, theta, ones, flat)
        self.state_keys = [(name, index) for name, index, _ in flat]
        self.state_specs = [
            tf.TensorSpec(value.shape, value.dtype) for _, _, value in flat
        ]
        self.task_axis = "vectorize"
        if not can_trace(lambda: self._probe(theta)):
            self.task_axis = "sequential"

    def sampled(self, seeds):
        """Returns the problems of these seeds, a `Problem` with a task axis."""
        return self.map(
            lambda seed: tuple(self.problem.sample(seed)),
            seeds,
            tuple(self.problem.element_spec),
        )

    def started(self, theta, parameters, per_run=False):
        """Returns the rule's state before the first step, flat, with a task axis."""

        def start(values):
            own, parameters = values
            state = self.rule.initial_state(own or theta, parameters)
            return [value for _, _, value in flat_state(state, len(parameters))]

        if not self.state_specs:
            return []
        own = theta if per_run else {}
        return self.map(start, (own, parameters), self.state_specs)

    def forward(self, theta, data, runs, num_steps, per_run=False, keep=True):
        """Takes `num_steps` steps.

        Args:
            theta: dict from name to tensor; with `per_run`, each with a leading axis
                `(num_runs,)`.
            data: nest of tensors, of the problems of `runs.seed`.
            runs: `Runs`.
            num_steps: int >= 1.
            keep: bool, whether the trajectory is wanted, or the losses alone.

        Returns:
            Tuple `(trajectory, runs)`; without `keep` the first is the losses, float32
            `(num_steps + 1, num_runs)`.
        """
        own = theta if per_run else {}

        def forward_step(values):
            own, data, parameters, state, step, seed = values
            loss, gradients = self.loss_and_gradients(data, parameters, step, seed)
            parameters, state = self.take_step(
                own or theta, parameters, gradients, state, step, loss
            )
            return loss, gradients, parameters, state

        scalar = tf.TensorSpec((), tf.float32)
        signature = (
            scalar,
            self.parameter_specs,
            self.parameter_specs,
            self.state_specs,
        )
        num_runs = runs.step.shape[0]

        def array(spec, steps):
            return tf.TensorArray(
                spec.dtype, steps, element_shape=(num_runs, *spec.shape)
            )

        arrays = {"losses": [array(scalar, num_steps + 1)]}
        if keep:
            arrays["parameters"] = [
                array(s, num_steps + 1) for s in self.parameter_specs
            ]
            arrays["gradients"] = [
                array(s, num_steps + 1) for s in self.parameter_specs
            ]
            arrays["state"] = [array(s, num_steps) for s in self.state_specs]

        def write(arrays, index, values):
            return {
                name: [
                    a.write(index, v)
                    for a, v in zip(arrays[name], values[name], strict=True)
                ]
                if name in values
                else arrays[name]
                for name in arrays
            }

        def body(index, parameters, state, arrays):
            loss, gradients, new_parameters, new_state = self.map(
                forward_step,
                (own, data, parameters, state, runs.step + index, runs.seed),
                signature,
            )
            seen = {
                "losses": [loss],
                "parameters": parameters,
                "gradients": gradients,
                "state": state,
            }
            return index + 1, new_parameters, new_state, write(arrays, index, seen)

        _, parameters, state, arrays = tf.while_loop(
            lambda index, *_: index < num_steps,
            body,
            (tf.constant(0), list(runs.parameters), list(runs.state), arrays),
            maximum_iterations=num_steps,
            parallel_iterations=1,
        )
        step = runs.step + num_steps
        loss, gradients = self.map(
            lambda v: self.loss_and_gradients(*v),
            (data, parameters, step, runs.seed),
            (scalar, self.parameter_specs),
        )
        last = {"losses": [loss], "parameters": parameters, "gradients": gradients}
        arrays = write(arrays, num_steps, last)
        stacked = {name: [a.stack() for a in arrays[name]] for name in arrays}
        [losses] = stacked.pop("losses")
        ended = Runs(parameters, state, step, runs.seed)
        return (Trajectory(losses, **stacked) if keep else losses), ended

    def backward(self, theta, data, runs, trajectory, upstream, chained=True):
        """Returns each run's gradient with respect to theta.

        Args:
            theta: dict from name to tensor, the same for all runs.
            data: as in `forward`.
            runs: `Runs` before the first step.
            trajectory: `Trajectory`.
            upstream: list of float32 `(K, num_runs, ...)`: what is differentiated, by
                the iterate after each step.
            chained: bool; False if the next step does not start from that iterate.

        Returns:
            Dict from name to float32 `(num_runs, ...)`.
        """
        num_steps = upstream[0].shape[0]
        num_runs = runs.step.shape[0]
        names = list(theta)
        state_gradients = [tf.zeros((num_runs, *s.shape)) for s in self.state_specs]
        gradients = [tf.zeros((num_runs, *theta[name].shape)) for name in names]
        carried = [tf.zeros((num_runs, *s.shape)) for s in self.parameter_specs]

        def of_step(values):
            data, parameters, loss, gradients, state, step, seed = values[:7]
            wanted, wanted_state = values[7:]
            watched = [theta[name] for name in names]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([parameters, state, watched])
                if self.second_order:
                    loss, gradients = self.loss_and_gradients(
                        data, parameters, step, seed
                    )
                new_parameters, new_state = self.take_step(
                    dict(zip(names, watched, strict=True)),
                    parameters,
                    gradients,
                    state,
                    step,
                    loss,
                )
                products = [
                    tf.reduce_sum(out * want)
                    for out, want in zip(
                        [*new_parameters, *new_state],
                        [*wanted, *wanted_state],
                        strict=True,
                    )
                ]
                total = tf.add_n(products)
            return tape.gradient(
                total,
                (parameters, state, watched),
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )

        signature = (
            self.parameter_specs,
            self.state_specs,
            [tf.TensorSpec(theta[name].shape, tf.float32) for name in names],
        )

        def body(index, carried, state_gradients, gradients):
            wanted = [u[index] for u in upstream]
            if chained:
                wanted = [w + c for w, c in zip(wanted, carried, strict=True)]
            carried, state_gradients, of_theta = self.map(
                of_step,
                (
                    data,
                    [p[index] for p in trajectory.parameters],
                    trajectory.losses[index],
                    [g[index] for g in trajectory.gradients],
                    [s[index] for s in trajectory.state],
                    runs.step + index,
                    runs.seed,
                    wanted,
                    state_gradients,
                ),
                signature,
            )
            gradients = [a + b for a, b in zip(gradients, of_theta, strict=True)]
            return index - 1, carried, state_gradients, gradients

        _, _, _, gradients = tf.while_loop(
            lambda index, *_: index >= 0,
            body,
            (tf.constant(num_steps - 1), carried, state_gradients, gradients),
            maximum_iterations=num_steps,
            parallel_iterations=1,
        )
        return dict(zip(names, gradients, strict=True))

    def take_step(self, theta, parameters, gradients, state, step, loss):
        """Returns one run's `(parameters, flat state)` after the rule's step."""
        parameters, state = self.rule.pure_step(
            theta,
            nested_state(self.state_keys, state),
            gradients,
            parameters,
            step,
            loss=loss,
        )
        flat = flat_state(state, len(parameters))
        return parameters, [value for _, _, value in flat]

    def loss_and_gradients(self, data, parameters, step, seed):
        """Returns one run's loss and gradients at a step, on the batch of that step."""
        batch = tf.stack(
            [
                seed[0] + BATCH_STREAMS,
                seed[1] * MAX_STEPS + tf.cast(step, "int64"),
            ]
        )
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(parameters)
            with whole_losses():
                loss = self.problem.loss(data, parameters, batch)
        gradients = tape.gradient(
            loss, parameters, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return loss, gradients

    def _probe(self, theta):
        """Two steps forward and back, to see what `vectorized_map` can convert."""
        seeds = tf.constant([[0, 0], [0, 1]], "int64")
        data, parameters = self.sampled(seeds)
        runs = Runs(
            parameters, self.started(theta, parameters), tf.zeros(2, "int32"), seeds
        )
        trajectory, _ = self.forward(theta, data, runs, 2)
        upstream = [g[1:] for g in trajectory.gradients]
        return self.backward(theta, data, runs, trajectory, upstream)

    def map(self, function, elements, signature):
        """Applies a function of one run to all; see `map_tasks`."""
        return map_tasks(function, elements, self.task_axis, signature)


def _check_state(rule, theta, parameters, flat):
    """Raises ValueError for a rule whose state cannot be differentiated through."""
    moved = {name: value + 0.5 for name, value in theta.items()}
    other = flat_state(rule.initial_state(moved, parameters), len(parameters))
    for (name, _, value), (_, _, changed) in zip(flat, other, strict=True):
        if not value.dtype.is_floating:
            raise ValueError(
                f"The state of {type(rule).__name__} must be float tensors. Received: "
                f"{name!r} of dtype {value.dtype.name}."
            )
        if not bool(tf.reduce_all(value == changed)):
            raise ValueError(
                "An optimizer whose initial state depends on theta cannot be trained "
                "on long runs: runs begin in other meta-steps than they end. Received: "
                f"{type(rule).__name__}, whose state {name!r} does. Start it from "
                "constants, or train it with `keras_meta.MetaTrainer`."
            )
