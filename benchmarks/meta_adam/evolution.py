"""Antithetic evolution strategies over windows of runs that go on.

`"pes"`: persistent evolution strategies, a new perturbation for each window (Vicol,
Metz & Sohl-Dickstein 2021, arXiv:2112.13835, algorithm 2). `"single"`: one for the
whole run, whose variance does not grow with the number of windows (Vicol 2023,
"Low-variance gradient estimation in unrolled computation graphs with ES-Single",
arXiv:2304.11153).
"""

import functools

import jax
import jax.numpy as jnp
import runs


class Windows:
    """The runs of one family, and the meta-gradient of their next window.

    Args:
        family: `family.Family`.
        template: dict of arrays, theta's names and shapes.
        settings: dict: `window` (steps), `sigma`, `horizons` (least, greatest),
            `last_weight` (share of the objective on the last tenth of a run), `risk`,
            `estimator` (`"pes"` or `"single"`).
    """

    def __init__(self, family, template, settings):
        self.family, self.template, self.settings = family, template, settings
        self.rule = runs.rule_for(template)
        self.size = sum(array.size for array in template.values())
        self._window = jax.jit(self._all)

    def start(self, key):
        """Returns the state of runs that begin at their first window."""
        state = jax.eval_shape(
            lambda data, key: jax.vmap(functools.partial(self._new))(
                jax.random.split(key, self.family.pairs)
            ),
            self.family.data,
            key,
        )
        # A horizon of 0 is over: the first window begins every run.
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state)

    def window(self, theta, state, key):
        """Takes the next window of every run.

        Returns:
            Tuple: the new state, the meta-gradient, the mean objective less Adam's,
            and the share of pairs whose gradient is finite.
        """
        return self._window(self.family.data, theta, state, key)

    def _new(self, key):
        keys = jax.random.split(key, 9)
        family, settings = self.family, self.settings
        low, high = jnp.log(jnp.asarray(settings["horizons"], "float32"))
        horizon = jnp.exp(jax.random.uniform(keys[0], minval=low, maxval=high))
        window = settings["window"]
        horizon = jnp.maximum(jnp.round(horizon / window), 1.0) * window
        odd = jax.random.bernoulli(keys[1], 0.4)
        gain = jnp.exp(odd * jax.random.uniform(keys[2], minval=-0.7, maxval=0.7))
        number = len(family.shapes)
        odd = jax.random.bernoulli(keys[3], 0.15)
        scales = jax.random.uniform(keys[4], (number,), minval=-0.7, maxval=0.7)
        scales = list(jnp.exp(odd * scales))
        state = runs.started(self.rule, family, keys[5], gain, scales)
        return {
            "key": keys[8],
            "setting": family.setting(keys[6]),
            "scales": scales,
            "horizon": horizon,
            "horizon_known": jax.random.bernoulli(keys[7], 0.5).astype("float32"),
            "loss_known": jax.random.bernoulli(
                jax.random.fold_in(keys[7], 1), 0.7
            ).astype("float32"),
            "first_loss": jnp.float32(0.0),
            "number": jnp.int32(0),
            "states": jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), state),
            "perturbation": jnp.zeros(self.size),
        }

    def _all(self, data, theta, state, key):
        keys = jax.random.split(key, self.family.pairs)
        state, gradients, objective = jax.vmap(
            functools.partial(self._pair, data, theta)
        )(state, keys)
        finite = jnp.isfinite(gradients).all(1)
        gradients = jnp.where(finite[:, None], gradients, 0.0)
        return state, gradients.mean(0), objective.mean(), finite.mean()

    def _pair(self, data, theta, run, key):
        family, settings = self.family, self.settings
        window, sigma = settings["window"], settings["sigma"]
        fresh, perturbing = jax.random.split(key)
        over = run["number"] >= run["horizon"]
        new = self._new(fresh)
        run = jax.tree.map(lambda a, b: jnp.where(over, a, b), new, run)
        drawn = sigma * jax.random.normal(perturbing, (self.size,))
        perturbation = run["perturbation"] + drawn
        if settings["estimator"] == "single":
            first_window = run["number"] == 0
            drawn = jnp.where(first_window, drawn, run["perturbation"])
            perturbation = drawn
        three = jnp.stack([theta + drawn, theta - drawn, jnp.zeros(self.size)])
        thetas = jax.vmap(lambda vector: runs.theta_of(vector, self.template))(three)
        numbers = run["number"] + jnp.arange(window)
        batches = jax.vmap(
            lambda number: family.batch(
                data, jax.random.fold_in(run["key"], number), run["setting"]
            )
        )(numbers)

        def step(states, item):
            number, batch = item

            def one(theta, state):
                return runs.step(
                    self.rule, family, data, theta, state, batch, number, run
                )

            return jax.vmap(one)(thetas, states)

        states, losses = jax.lax.scan(step, run["states"], (numbers, batches))
        first = jnp.where(run["number"] == 0, losses[0, 0], run["first_loss"])
        values = log_loss(losses / first)
        last = (numbers >= 0.9 * run["horizon"])[:, None]
        share = settings["last_weight"]
        values = (values * (1.0 - share + 10.0 * share * last)).mean(0)
        # The third run is Adam: being behind it counts `risk` times more.
        values = values + settings["risk"] * jnp.maximum(values - values[2], 0.0)
        objective = values * jnp.sqrt(window / run["horizon"])
        difference = jnp.clip(objective[0] - objective[1], -1.0, 1.0)
        gradient = perturbation * difference / (2.0 * sigma**2)
        run = dict(
            run,
            first_loss=first,
            number=run["number"] + window,
            states=states,
            perturbation=perturbation,
        )
        return run, gradient, values[:2].mean() - values[2]


def log_loss(ratio):
    """Returns the logarithm of a loss over a run's first, bounded on both sides."""
    value = jnp.log(jnp.clip(ratio, 0.0, 4.5) + 0.0001)
    return jnp.where(jnp.isfinite(value), value, 1.5)
