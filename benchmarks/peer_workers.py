"""The meta-step of `meta_step_workers.py` in other libraries: JAX, torch, learn2learn.

Same tasks, nets and steps; each function serves one process.
"""

import importlib.util
import sys

import numpy as np
from meta_step_problems import (
    BATCH_NORM_EPSILON,
    CLASSES,
    CONV_LAYERS,
    CONV_TASKS,
    DENSE_TASKS,
    DENSE_WIDTHS,
    EXAMPLES,
    FILTERS,
    OUTER_RATE,
    QUERIES,
    RATE,
    SHOTS,
    SIDE,
    WAYS,
    conv_images,
    initial_weights,
    serve,
)

PREPARED_BATCHES = 20  # taken again and again; one alone would stay in the cache


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
            x = gamma * (x - mean) * jax.lax.rsqrt(var + BATCH_NORM_EPSILON) + beta
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


# ---- torch.func and learn2learn, which draw tasks with the same code ------------


def torch_sampler(network):
    """Returns a function that draws a meta-batch, each tensor `(tasks, ...)`."""
    import torch

    torch.manual_seed(0)
    images = None if network == "dense" else torch.tensor(conv_images())

    def sample():
        if network == "dense":
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

    return sample


def run_torch(options):
    """`torch.func.grad` and `vmap` over tasks, a Python loop over steps."""
    import torch
    import torch.nn.functional as F

    if options.threads:
        torch.set_num_threads(options.threads)
    sample = torch_sampler(options.network)

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
            x = (x - mean) * torch.rsqrt(var + BATCH_NORM_EPSILON)
            x = torch.relu(x * gamma[:, None, None] + beta[:, None, None])
        return x.flatten(1) @ p[-2] + p[-1]

    def loss(p, x, y):
        prediction = forward(p, x)
        if options.network == "dense":
            return ((prediction - y) ** 2).mean()
        return F.cross_entropy(prediction, y)

    def task(p, rates, episode):
        for _ in range(options.inner_steps):
            g = torch.func.grad(loss)(p, episode[0], episode[1])
            p = [w - r * d for w, r, d in zip(p, rates, g, strict=True)]
        return loss(p, episode[2], episode[3])

    gradients = torch.func.vmap(torch.func.grad(task, (0, 1)), (None, None, 0))
    p = torch_weights(options.network)
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


def torch_weights(network):
    """Returns `initial_weights` as tensors; Keras' kernels are HWIO, torch's OIHW."""
    import torch

    return [
        torch.tensor(w.transpose(3, 2, 0, 1).copy() if w.ndim == 4 else w)
        for w in initial_weights(network)
    ]


def learn2learn_class(name, module):
    """Returns a class of learn2learn without running its packages' `__init__`.

    Those import all its data sets and environments, thus torchvision and gym, which
    the algorithms do not need.
    """
    for package in ("learn2learn", "learn2learn.algorithms"):
        spec = importlib.util.find_spec(package)
        sys.modules[package] = importlib.util.module_from_spec(spec)
    return getattr(importlib.import_module(module), name)


def torch_module(network):
    """Returns the net as a `torch.nn.Module` with `initial_weights`."""
    import torch
    from torch import nn

    layers = []
    if network == "dense":
        for rows, columns in zip(DENSE_WIDTHS, DENSE_WIDTHS[1:], strict=False):
            layers += [nn.Linear(rows, columns), nn.ReLU()]
        layers.pop()
    else:
        side = SIDE
        for layer in range(CONV_LAYERS):
            inputs = FILTERS if layer else 1
            layers.append(nn.Conv2d(inputs, FILTERS, 3, stride=2, padding=1))
            # The batch's own statistics, as in the other libraries.
            layers.append(
                nn.BatchNorm2d(FILTERS, BATCH_NORM_EPSILON, track_running_stats=False)
            )
            layers.append(nn.ReLU())
            side = -(-side // 2)
        layers += [nn.Flatten(), nn.Linear(side * side * FILTERS, WAYS)]
    module = nn.Sequential(*layers)
    with torch.no_grad():
        weights = torch_weights(network)
        for parameter, w in zip(module.parameters(), weights, strict=True):
            # `nn.Linear` keeps its matrix as (outputs, inputs).
            parameter.copy_(w.T if w.ndim == 2 else w)
    return module


def run_learn2learn(options):
    """learn2learn's `MetaSGD` as its examples use it: a Python loop over tasks.

    Sinusoids as in its `maml_sine.py`, one `backward` of the mean loss; images as in
    its `maml_omniglot.py`, a `backward` for each task.
    """
    import torch
    from torch import nn

    if options.threads:
        torch.set_num_threads(options.threads)
    meta_sgd = learn2learn_class("MetaSGD", "learn2learn.algorithms.meta_sgd")
    dense = options.network == "dense"
    loss = nn.MSELoss() if dense else nn.CrossEntropyLoss()
    num_tasks = DENSE_TASKS if dense else CONV_TASKS
    learner = meta_sgd(torch_module(options.network), lr=RATE)
    adam = torch.optim.Adam(learner.parameters(), OUTER_RATE)
    draw = torch_sampler(options.network)

    def sample():
        support_x, support_y, query_x, query_y = draw()
        if not dense:
            # Channels first, as `nn.Conv2d` takes them.
            support_x, query_x = support_x[:, :, None], query_x[:, :, None]
        return support_x, support_y, query_x, query_y

    def meta_step(batch):
        adam.zero_grad()
        meta_loss = 0.0
        for support_x, support_y, query_x, query_y in zip(*batch, strict=True):
            clone = learner.clone()
            for _ in range(options.inner_steps):
                clone.adapt(loss(clone(support_x), support_y))
            task_loss = loss(clone(query_x), query_y)
            if dense:
                meta_loss += task_loss
            else:
                task_loss.backward()
        if dense:
            (meta_loss / num_tasks).backward()
        else:
            for parameter in learner.parameters():
                parameter.grad.mul_(1.0 / num_tasks)
        adam.step()

    prepared = [sample() for _ in range(PREPARED_BATCHES)] if options.prepared else []

    def take_steps():
        for step in range(options.steps):
            meta_step(prepared[step % len(prepared)] if prepared else sample())

    serve(take_steps)
