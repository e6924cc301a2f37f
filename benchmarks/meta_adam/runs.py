"""Runs of a family under the controller: what one step is, and how a run begins."""

import jax
import jax.numpy as jnp
import nets

from keras_meta.optimizers.meta_adam import MetaAdam


def rule_for(template):
    """Returns the rule whose theta is named and shaped as `template`."""
    units = len(template["hidden/bias"]) if "hidden/bias" in template else 0
    return MetaAdam(
        seed=0,
        weights=None,
        safeguard=False,
        hidden_units=units,
        mixing="mixing" in template,
    )


def theta_of(vector, template):
    """Returns the controller's theta of one flat vector, shaped as `template`."""
    theta, start = {}, 0
    for name, array in template.items():
        theta[name] = vector[start : start + array.size].reshape(array.shape)
        start += array.size
    return theta


def step(rule, family, data, theta, state, batch, number, run, learning_rate=1.0):
    """Returns the state after a step, and the loss before it.

    Args:
        state: pair of the weights and the optimizer's state.
        number: int32 scalar, 0 at the first step.
        run: dict of the run's `setting`, `horizon`, `horizon_known`, `loss_known`
            and `scales` (what each tensor is multiplied by in the network).
    """
    weights, slots = state

    def loss_of(weights):
        scaled = [w * s for w, s in zip(weights, run["scales"], strict=True)]
        return family.loss(scaled, batch, run["setting"])

    loss, gradients = jax.value_and_grad(loss_of)(weights)
    fine = jnp.isfinite(loss)
    gradients = [jnp.where(fine, jnp.nan_to_num(g), 0.0) for g in gradients]
    weights, slots = rule.controlled_update(
        theta,
        slots,
        gradients,
        weights,
        number,
        learning_rate,
        (loss, run["loss_known"]),
        (run["horizon"], run["horizon_known"]),
    )
    return (weights, slots), loss


def started(rule, family, key, gain, scales):
    """Returns the state of a new run."""
    weights = nets.initial(family.net.specs, key, gain)
    weights = [w / s for w, s in zip(weights, scales, strict=True)]
    return weights, rule.initial_state({}, weights)
