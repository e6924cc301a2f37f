"""One implementation of a meta-step in one process, timed on request.

`meta_step_time.py` starts these and lets them run in turns. A worker prints `ready`
when it is compiled, then for each line it reads takes `--steps` meta-steps and prints
the seconds they took. All do the same work: Meta-SGD (rates of every weight and the
initialisation are learned, exact meta-gradient), Adam outside, tasks drawn
inside the step.
"""

import argparse
import sys
import time

import numpy as np

DENSE_TASKS = 25
DENSE_WIDTHS = (1, 40, 40, 1)
SHOTS = 10  # of the dense task, support and query each
CONV_TASKS = 16
CLASSES, EXAMPLES, SIDE = 100, 20, 28
WAYS, QUERIES = 5, 5
FILTERS, CONV_LAYERS = 32, 4
# Small: only the time counts, and nothing must overflow, which stops our `fit`.
RATE = 0.001
OUTER_RATE = 1e-6


def conv_images():
    """Returns float32 `(CLASSES, EXAMPLES, SIDE, SIDE)` noise: time is what counts."""
    return np.random.default_rng(0).random(
        (CLASSES, EXAMPLES, SIDE, SIDE), dtype="float32"
    )


def serve(take_steps):
    """Answers each line of stdin with the seconds `take_steps()` needs."""
    take_steps()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        take_steps()
        print(time.perf_counter() - start, flush=True)


# ---- keras_meta -----------------------------------------------------------------


def keras_model(network):
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    if network == "dense":
        model = keras.Sequential([keras.Input((DENSE_WIDTHS[0],))])
        for width in DENSE_WIDTHS[1:-1]:
            model.add(layers.Dense(width, "relu", kernel_initializer="he_normal"))
        model.add(layers.Dense(DENSE_WIDTHS[-1]))
        return model, "mse"
    model = keras.Sequential([keras.Input((SIDE, SIDE, 1))])
    for _ in range(CONV_LAYERS):
        model.add(layers.Conv2D(FILTERS, 3, strides=2, padding="same"))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
    model.add(layers.Flatten())
    model.add(layers.Dense(WAYS))
    return model, keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def keras_meta_tasks(network):
    from keras_meta import tasks

    if network == "dense":
        return tasks.Sinusoid(shots=SHOTS, queries=SHOTS), DENSE_TASKS
    return (
        tasks.FewShotClassification(
            conv_images(), None, ways=WAYS, shots=1, queries=QUERIES
        ),
        CONV_TASKS,
    )


def run_keras_meta(options):
    """Times epochs of a real `fit`, from inside it."""
    import keras

    import keras_meta

    model, loss = keras_model(options.network)
    trainer = keras_meta.MetaTrainer(
        model,
        keras_meta.MetaSGD(alpha_init=RATE),
        inner_steps=options.inner_steps,
        task_axis=options.task_axis,
        seed=0,
    )
    jit = {"auto": "auto", "on": True, "off": False}[options.jit]
    trainer.compile(keras.optimizers.Adam(OUTER_RATE), loss=loss, jit_compile=jit)
    tasks, meta_batch_size = keras_meta_tasks(options.network)

    class Turn(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                print("ready", flush=True)
            if epoch >= 1 and not sys.stdin.readline():
                self.model.stop_training = True
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            if epoch >= 1 and not self.model.stop_training:
                print(time.perf_counter() - self.start, flush=True)

    trainer.fit(
        tasks,
        meta_batch_size=meta_batch_size,
        steps_per_epoch=options.steps,
        epochs=10**6,
        verbose=0,
        callbacks=[Turn()],
    )


# ---- JAX ------------------------------------------------------------------------


def run_jax(options):
    """`jit(scan)` over steps; tasks by vmap (dense), lax.map or vmap (conv)."""
    import jax
    import jax.numpy as jnp

    images = None if options.network == "dense" else jnp.asarray(conv_images())

    def forward(p, x):
        if options.network == "dense":
            x = jax.nn.relu(x @ p[0] + p[1])
            x = jax.nn.relu(x @ p[2] + p[3])
            return x @ p[4] + p[5]
        for layer in range(CONV_LAYERS):
            kernel, bias, gamma, beta = p[4 * layer : 4 * layer + 4]
            x = jax.lax.conv_general_dilated(
                x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = x + bias
            mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
            x = gamma * (x - mean) * jax.lax.rsqrt(var + 1e-3) + beta
            x = jax.nn.relu(x)
        return x.reshape(x.shape[0], -1) @ p[-2] + p[-1]

    def loss(p, x, y):
        prediction = forward(p, x)
        if options.network == "dense":
            return jnp.mean((prediction - y) ** 2)
        return -jnp.mean(jax.nn.log_softmax(prediction)[jnp.arange(len(y)), y])

    def sample(key):
        if options.network == "dense":
            u = jax.random.uniform(key, (3 + 2 * SHOTS,))
            x = (-5 + 10 * u[3:])[:, None]
            y = (0.1 + 4.9 * u[0]) * jnp.sin((0.8 + 0.4 * u[2]) * x + np.pi * u[1])
            return x[:SHOTS], y[:SHOTS], x[SHOTS:], y[SHOTS:]
        first, second = jax.random.split(key)
        classes = jax.lax.top_k(jax.random.uniform(first, (CLASSES,)), WAYS)[1]
        chosen = jax.lax.top_k(
            jax.random.uniform(second, (WAYS, EXAMPLES)), 1 + QUERIES
        )[1]
        x = images[classes[:, None], chosen][..., None]
        label = jnp.arange(WAYS)
        return (
            x[:, 0],
            label,
            x[:, 1:].reshape(-1, SIDE, SIDE, 1),
            jnp.repeat(label, QUERIES),
        )

    def task(outer, episode):
        p, rates = outer
        for _ in range(options.inner_steps):
            g = jax.grad(loss)(p, episode[0], episode[1])
            p = [w - r * d for w, r, d in zip(p, rates, g, strict=True)]
        return loss(p, episode[2], episode[3])

    task_gradient = jax.value_and_grad(task)
    num_tasks = DENSE_TASKS if options.network == "dense" else CONV_TASKS

    def step(carry, _):
        outer, m, v, t, key = carry
        key, now = jax.random.split(key)
        episodes = jax.vmap(sample)(jax.random.split(now, num_tasks))
        if options.task_axis == "sequential":
            losses, g = jax.lax.map(lambda e: task_gradient(outer, e), episodes)
        else:
            losses, g = jax.vmap(task_gradient, (None, 0))(outer, episodes)
        g = jax.tree.map(lambda a: a.mean(0), g)
        t = t + 1
        m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
        v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
        outer = jax.tree.map(
            lambda w, a, b: (
                w
                - OUTER_RATE
                * (a / (1 - 0.9**t))
                / (jnp.sqrt(b / (1 - 0.999**t)) + 1e-7)
            ),
            outer,
            m,
            v,
        )
        return (outer, m, v, t, key), losses.mean()

    @jax.jit
    def steps(carry):
        return jax.lax.scan(step, carry, None, length=options.steps)

    p = [jnp.asarray(w) for w in initial_weights(options.network)]
    outer = (p, [jnp.full_like(w, RATE) for w in p])
    zeros = jax.tree.map(jnp.zeros_like, outer)
    carry = [(outer, zeros, zeros, jnp.float32(0), jax.random.PRNGKey(0))]

    def take_steps():
        carry[0], losses = steps(carry[0])
        jax.block_until_ready(losses)

    serve(take_steps)


# ---- torch.func -----------------------------------------------------------------


def run_torch(options):
    """`torch.func.grad` and `vmap` over tasks, a Python loop over steps."""
    import torch
    import torch.nn.functional as F

    torch.manual_seed(0)
    images = None if options.network == "dense" else torch.tensor(conv_images())

    def forward(p, x):
        if options.network == "dense":
            x = torch.relu(x @ p[0] + p[1])
            x = torch.relu(x @ p[2] + p[3])
            return x @ p[4] + p[5]
        x = x[:, None]
        for layer in range(CONV_LAYERS):
            kernel, bias, gamma, beta = p[4 * layer : 4 * layer + 4]
            x = F.conv2d(x, kernel, bias, stride=2, padding=1)
            mean = x.mean((0, 2, 3), keepdim=True)
            var = x.var((0, 2, 3), keepdim=True, unbiased=False)
            x = (x - mean) * torch.rsqrt(var + 1e-3)
            x = torch.relu(x * gamma[:, None, None] + beta[:, None, None])
        return x.flatten(1) @ p[-2] + p[-1]

    def loss(p, x, y):
        prediction = forward(p, x)
        if options.network == "dense":
            return ((prediction - y) ** 2).mean()
        return F.cross_entropy(prediction, y)

    def sample():
        if options.network == "dense":
            u = torch.rand(DENSE_TASKS, 3 + 2 * SHOTS, 1)
            x = -5 + 10 * u[:, 3:]
            y = (0.1 + 4.9 * u[:, :1]) * torch.sin(
                (0.8 + 0.4 * u[:, 2:3]) * x + np.pi * u[:, 1:2]
            )
            return x[:, :SHOTS], y[:, :SHOTS], x[:, SHOTS:], y[:, SHOTS:]
        classes = torch.rand(CONV_TASKS, CLASSES).topk(WAYS)[1]
        chosen = torch.rand(CONV_TASKS, WAYS, EXAMPLES).topk(1 + QUERIES)[1]
        x = images[classes[..., None], chosen]
        label = torch.arange(WAYS).expand(CONV_TASKS, WAYS)
        return (
            x[:, :, 0],
            label,
            x[:, :, 1:].flatten(1, 2),
            label.repeat_interleave(QUERIES, 1),
        )

    def task(p, rates, episode):
        for _ in range(options.inner_steps):
            g = torch.func.grad(loss)(p, episode[0], episode[1])
            p = [w - r * d for w, r, d in zip(p, rates, g, strict=True)]
        return loss(p, episode[2], episode[3])

    gradients = torch.func.vmap(torch.func.grad(task, (0, 1)), (None, None, 0))
    p = []
    for w in initial_weights(options.network):
        # Keras' kernels are HWIO, torch's OIHW.
        p.append(torch.tensor(w.transpose(3, 2, 0, 1).copy() if w.ndim == 4 else w))
    rates = [torch.full_like(w, RATE) for w in p]
    for w in [*p, *rates]:
        w.requires_grad_()
    adam = torch.optim.Adam([*p, *rates], lr=OUTER_RATE)

    def take_steps():
        for _ in range(options.steps):
            g = gradients(
                [w.detach() for w in p], [r.detach() for r in rates], sample()
            )
            for w, d in zip([*p, *rates], [*g[0], *g[1]], strict=True):
                w.grad = d.mean(0)
            adam.step()

    serve(take_steps)


def initial_weights(network):
    """Returns He-initialised weights in Keras' order, float32 arrays."""
    rng = np.random.default_rng(0)
    shapes = []
    if network == "dense":
        for rows, columns in zip(DENSE_WIDTHS, DENSE_WIDTHS[1:], strict=False):
            shapes += [(rows, columns), (columns,)]
    else:
        for layer in range(CONV_LAYERS):
            shapes.append((3, 3, FILTERS if layer else 1, FILTERS))
            shapes += [(FILTERS,)] * 3
        side = SIDE
        for _ in range(CONV_LAYERS):
            side = -(-side // 2)
        shapes += [(side * side * FILTERS, WAYS), (WAYS,)]
    weights = []
    for index, shape in enumerate(shapes):
        if len(shape) > 1:
            scale = np.sqrt(2.0 / np.prod(shape[:-1]))
            weights.append(rng.normal(0.0, scale, shape).astype("float32"))
        else:
            gamma = network == "conv" and index % 4 == 2 and index < 4 * CONV_LAYERS
            weights.append(np.full(shape, float(gamma), "float32"))
    return weights


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("implementation", choices=["keras_meta", "jax", "torch"])
    parser.add_argument("network", choices=["dense", "conv"])
    parser.add_argument("--inner-steps", type=int, default=1)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--jit", choices=["auto", "on", "off"], default="auto")
    parser.add_argument(
        "--task-axis", choices=["auto", "vectorize", "sequential"], default="auto"
    )
    options = parser.parse_args()
    runners = {"keras_meta": run_keras_meta, "jax": run_jax, "torch": run_torch}
    runners[options.implementation](options)


if __name__ == "__main__":
    main()
