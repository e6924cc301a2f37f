"""The last layer of a model that classifies by a stored support set."""

import keras

from keras_meta.learners.comparison import compared
from keras_meta.learners.full_context import FullContext


@keras.saving.register_keras_serializable("keras_meta")
class SupportHead(keras.layers.Layer):
    """Compares embeddings with those of a support set that it holds as weights.

    Args:
        num_support: int >= 1, support examples.
        ways: int >= 1, classes.
        metric: `"cosine"` or `"euclidean"`.
        scale: float > 0, multiplies the similarities.
        full_context: None, or the number of reads, int >= 0.
        **kwargs: see `keras.layers.Layer`.
    """

    def __init__(self, num_support, ways, metric, scale, full_context=None, **kwargs):
        kwargs["trainable"] = False
        super().__init__(**kwargs)
        self.num_support = num_support
        self.ways = ways
        self.metric = metric
        self.scale = scale
        self.full_context = full_context
        self.context = None

    def build(self, input_shape):
        size = input_shape[-1]
        self.support = self.add_weight(
            name="support", shape=(self.num_support, size), trainable=False
        )
        self.labels = self.add_weight(
            name="labels", shape=(self.num_support, self.ways), trainable=False
        )
        if self.full_context is not None:
            self.context = FullContext(size, self.full_context)
            self.context.build()
        super().build(input_shape)

    def call(self, embeddings):
        """Returns logits float `(num_examples, ways)`."""
        if self.context is not None:
            embeddings = self.context.query(embeddings, self.support)
        return compared(self.metric, embeddings, self.support, self.labels, self.scale)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.ways)

    def get_config(self):
        return {
            **super().get_config(),
            "num_support": self.num_support,
            "ways": self.ways,
            "metric": self.metric,
            "scale": self.scale,
            "full_context": self.full_context,
        }
