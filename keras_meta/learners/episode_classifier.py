"""A Keras model of a whole episode: support set and queries in, class scores out."""

import keras
from keras import ops

from keras_meta.learners.comparison import compared
from keras_meta.learners.full_context import FullContext


class EpisodeClassifier(keras.Model):
    """Embeds support and query examples in one batch, and compares them.

    Args:
        encoder: built `keras.Model` from examples to one tensor of fixed size.
        metric: `"cosine"` or `"euclidean"`.
        scale: float > 0, multiplies the similarities.
        full_context: None, or the number of reads, int >= 0.
    """

    def __init__(self, encoder, metric, scale, full_context):
        super().__init__()
        self.encoder = encoder
        self.metric = metric
        self.scale = scale
        self.context = None
        if full_context is not None:
            self.context = FullContext(embedding_size(encoder), full_context)
            self.context.build()
        self.built = True

    def call(self, inputs, training=False):
        """Returns the scores of the queries' classes.

        Args:
            inputs: tuple `(support_x, labels, query_x)`; labels are one-hot, float
                `(num_support, ways)`.
            training: bool.

        Returns:
            float `(num_queries, ways)`, logits.
        """
        support_x, labels, query_x = inputs
        both = keras.tree.map_structure(
            lambda *parts: ops.concatenate(parts, axis=0), support_x, query_x
        )
        embeddings = self.embed(both, training)
        num_support = labels.shape[0]
        support = self.in_context(embeddings[:num_support])
        return self.compare(embeddings[num_support:], support, labels)

    def embed(self, x, training=False):
        """Returns the encoder's output, flattened to `(num_examples, size)`."""
        embeddings = self.encoder(x, training=training)
        size = embedding_size(self.encoder)
        return ops.reshape(embeddings, (ops.shape(embeddings)[0], size))

    def in_context(self, support):
        """Returns support embeddings as queries are compared with them."""
        return support if self.context is None else self.context.support(support)

    def compare(self, query, support, labels):
        """Returns logits `(num_queries, ways)`; `support` is from `in_context()`."""
        if self.context is not None:
            query = self.context.query(query, support)
        return compared(self.metric, query, support, labels, self.scale)


def embedding_size(encoder):
    """Returns the size of one example's embedding.

    Raises:
        ValueError: if the encoder has several outputs, or an axis of unknown size.
    """
    try:
        shape = encoder.output_shape
    except (AttributeError, ValueError):  # A subclassed model has none.
        shape = None
    if isinstance(shape, tuple) and shape and not isinstance(shape[0], (tuple, list)):
        sizes = shape[1:]
        if sizes and all(isinstance(size, int) for size in sizes):
            size = 1
            for axis in sizes:
                size *= axis
            return size
    raise ValueError(
        "The encoder must return one tensor of a fixed size for each example. "
        f"Received: model {encoder.name!r} with output shape {shape}. End it with "
        "`keras.layers.GlobalAveragePooling2D()`, give its input a fixed shape, or "
        "wrap your own class: `keras.Sequential([keras.Input(shape), model])`."
    )
