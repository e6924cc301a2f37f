"""Takes meta-steps of a learned LSTM optimizer in one process, timed on request.

The protocol is that of `meta_step_workers.py`. The work: 128 runs on 10-dimensional
quadratics, a coordinate-wise LSTM of two layers of 20, windows of 20 steps, truncated
backpropagation with the inner gradients held constant, Adam outside. keras_meta draws
new problems where a run ends; JAX' runs go on for ever, which is less work.
"""

import argparse
import sys
import time

RUNS, DIMENSIONS, HIDDEN, WINDOW = 128, 10, 20, 20
OUTER_RATE = 1e-3


def run_keras_meta(options):
    """Times epochs of a real `fit`, from inside it."""
    import keras
    from fit_turns import FitTurns

    import keras_meta

    trainer = keras_meta.OptimizerTrainer(
        keras_meta.LSTMOptimizer(seed=0), horizon=100, truncation=WINDOW, seed=0
    )
    trainer.compile(
        keras.optimizers.Adam(OUTER_RATE),
        jit_compile={"on": True}.get(options.jit, False),
    )

    trainer.fit(
        keras_meta.tasks.Quadratic(DIMENSIONS),
        meta_batch_size=RUNS,
        steps_per_epoch=options.steps,
        epochs=10**6,
        verbose=0,
        callbacks=[FitTurns()],
    )


def run_jax(options):
    """Times meta-steps of the same unroll, `jax.lax.scan` over the window."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    random = np.random.default_rng(0)
    matrix = jnp.asarray(random.normal(size=(RUNS, DIMENSIONS, DIMENSIONS)), "float32")
    target = jnp.asarray(random.normal(size=(RUNS, DIMENSIONS)), "float32")
    theta = {}
    for layer, inputs in enumerate((2, HIDDEN)):
        theta[f"kernel_{layer}"] = random.normal(size=(inputs, 4 * HIDDEN), scale=0.1)
        theta[f"recurrent_{layer}"] = random.normal(
            size=(HIDDEN, 4 * HIDDEN), scale=0.1
        )
        theta[f"bias_{layer}"] = np.zeros(4 * HIDDEN)
    theta["output"] = random.normal(size=(HIDDEN, 1), scale=0.1)
    theta["output_bias"] = np.zeros(1)
    theta = {name: jnp.asarray(value, "float32") for name, value in theta.items()}

    def loss_of(weights):
        residual = jnp.einsum("rij,rj->ri", matrix, weights) - target
        return jnp.sum(jnp.square(residual), axis=1)

    def cell(theta, layer, inputs, hidden, memory):
        gates = inputs @ theta[f"kernel_{layer}"] + theta[f"bias_{layer}"]
        gates = gates + hidden @ theta[f"recurrent_{layer}"]
        i, f, candidate, o = jnp.split(gates, 4, axis=-1)
        memory = jax.nn.sigmoid(f) * memory + jax.nn.sigmoid(i) * jnp.tanh(candidate)
        return jax.nn.sigmoid(o) * jnp.tanh(memory), memory

    def take_step(theta, carry):
        weights, states = carry
        gradient = jax.grad(lambda w: jnp.sum(loss_of(w)))(weights)
        gradient = jax.lax.stop_gradient(gradient).reshape(-1)
        logarithm = jnp.log(jnp.maximum(jnp.abs(gradient), np.exp(-10.0))) / 10.0
        direction = jnp.clip(gradient * np.exp(10.0), -1.0, 1.0)
        outputs, new = jnp.stack([logarithm, direction], axis=-1), []
        for layer, (hidden, memory) in enumerate(states):
            outputs, memory = cell(theta, layer, outputs, hidden, memory)
            new.append((outputs, memory))
        moves = 0.1 * (outputs @ theta["output"] + theta["output_bias"])[:, 0]
        return weights + moves.reshape(weights.shape), new

    def meta_loss(theta, carry):
        def body(carry, _):
            carry = take_step(theta, carry)
            return carry, jnp.mean(loss_of(carry[0]))

        carry, losses = jax.lax.scan(body, carry, None, length=WINDOW)
        return jnp.mean(losses), carry

    @jax.jit
    def meta_step(theta, first, second, count, carry):
        gradients, carry = jax.grad(meta_loss, has_aux=True)(theta, carry)
        count = count + 1
        updated = {}
        for name, gradient in gradients.items():
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            size = jnp.sqrt(second[name] / (1 - 0.999**count)) + 1e-7
            move = OUTER_RATE * first[name] / (1 - 0.9**count) / size
            updated[name] = theta[name] - move
        return updated, first, second, count, carry

    zeros = {name: jnp.zeros_like(value) for name, value in theta.items()}
    rows = jnp.zeros((RUNS * DIMENSIONS, HIDDEN))
    carry = (jnp.zeros((RUNS, DIMENSIONS)), [(rows, rows), (rows, rows)])
    state = (theta, zeros, dict(zeros), jnp.zeros((), "float32"), carry)
    state = jax.block_until_ready(meta_step(*state))
    print("ready", flush=True)
    while sys.stdin.readline():
        begin = time.perf_counter()
        for _ in range(options.steps):
            state = meta_step(*state)
        jax.block_until_ready(state)
        print(time.perf_counter() - begin, flush=True)


def main():
    parser = argparse.ArgumentParser()
    runners = {"keras_meta": run_keras_meta, "jax": run_jax}
    parser.add_argument("library", choices=list(runners))
    parser.add_argument("--jit", choices=["on", "off"], default="off")
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    runners[options.library](options)


if __name__ == "__main__":
    main()
