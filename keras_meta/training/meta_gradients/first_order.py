"""The first-order meta-gradient: FOMAML (Finn et al. 2017, section 5.2)."""

from keras_meta.training.meta_gradients import exact


def meta_gradient(task, outer, others, num_steps):
    """As the exact one, with the inner gradients held constant.

    For a learned initialisation it is the query gradient at the adapted parameters;
    for learned rates the product of query and support gradients. Arguments and
    results: see `exact.meta_gradient`.
    """
    return exact.meta_gradient(
        task, outer, others, num_steps, hold_inner_gradients=True
    )
