"""How a query is classified by comparison with a support set's embeddings."""

from keras import ops

# Added to the similarity with examples of other classes: their share of a softmax
# underflows to zero.
NEVER = -1e4


def matching_logits(query, support, labels, scale):
    """Cosine attention over the support set (Vinyals et al. 2016, equation 1).

    `P(class | query) = sum over the class's examples of a(query, example)`, where
    `a` is the softmax over all examples of `scale * cosine(query, example)`.

    Args:
        query: float `(num_queries, size)`.
        support: float `(num_support, size)`.
        labels: float `(num_support, ways)`, one-hot.
        scale: float > 0; 1 is the paper's.

    Returns:
        float `(num_queries, ways)`, the logarithms of the probabilities.
    """
    similarity = scale * ops.matmul(
        ops.normalize(query, axis=-1),
        ops.transpose(ops.normalize(support, axis=-1)),
    )  # (num_queries, num_support)
    attention = ops.log_softmax(similarity, axis=-1)
    of_class = (1.0 - ops.transpose(labels)) * NEVER  # (ways, num_support)
    return ops.logsumexp(attention[:, None, :] + of_class[None], axis=-1)


def prototypical_logits(query, support, labels, scale):
    """Distances to the classes' means (Snell et al. 2017, equations 1 and 2).

    Args:
        query: float `(num_queries, size)`.
        support: float `(num_support, size)`.
        labels: float `(num_support, ways)`, one-hot.
        scale: float > 0; 1 is the paper's.

    Returns:
        float `(num_queries, ways)`: minus the squared Euclidean distance to the
        mean of each class, times `scale`.
    """
    counts = ops.maximum(ops.sum(labels, axis=0), 1.0)  # (ways,)
    prototypes = ops.matmul(ops.transpose(labels), support) / counts[:, None]
    difference = query[:, None, :] - prototypes[None]  # (num_queries, ways, size)
    return -scale * ops.sum(difference**2, axis=-1)


def compared(metric, query, support, labels, scale):
    """Returns the logits of a metric, in float32 whatever the encoder computes in.

    Args:
        metric: `"cosine"` or `"euclidean"`.
        query, support, labels, scale: see the functions above.
    """
    query, support, labels = (
        ops.cast(part, "float32") for part in (query, support, labels)
    )
    return METRICS[metric](query, support, labels, scale)


METRICS = {"cosine": matching_logits, "euclidean": prototypical_logits}
