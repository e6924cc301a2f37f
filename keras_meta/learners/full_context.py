"""Full-context embeddings: an example is embedded in view of the support set."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_meta")
class FullContext(keras.layers.Layer):
    """Refines embeddings as matching networks do (Vinyals et al. 2016, appendix A).

    Support embeddings pass through a bidirectional LSTM over the support set, in its
    order; query embeddings through an LSTM that reads the support set by attention,
    a few times. Both are added to what they were.

    Args:
        size: int >= 1, the embeddings' size.
        reads: int >= 0, how often a query reads the support set (the paper's K).
        **kwargs: see `keras.layers.Layer`.
    """

    def __init__(self, size, reads=5, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.reads = reads
        self.over_support = keras.layers.Bidirectional(
            keras.layers.LSTM(size, return_sequences=True), merge_mode="sum"
        )
        self.reader = keras.layers.LSTMCell(size)

    def build(self, input_shape=None):
        self.over_support.build((None, None, self.size))
        # The query's embedding and what it read; h is the cell's own state.
        self.reader.build((None, 2 * self.size))
        super().build(input_shape)

    def support(self, embeddings):
        """Returns g(x, S) of the paper.

        Args:
            embeddings: float `(num_support, size)`.

        Returns:
            float `(num_support, size)`.
        """
        return embeddings + self.over_support(embeddings[None])[0]

    def query(self, embeddings, support):
        """Returns f(x, S) of the paper, its equations 3 to 6.

        Args:
            embeddings: float `(num_queries, size)`.
            support: float `(num_support, size)`, from `support()`.

        Returns:
            float `(num_queries, size)`.
        """
        hidden, cell = embeddings, ops.zeros_like(embeddings)
        for _ in range(self.reads):
            attention = ops.softmax(ops.matmul(hidden, ops.transpose(support)), axis=-1)
            read = ops.matmul(attention, support)
            output, (_, cell) = self.reader(
                ops.concatenate([embeddings, read], axis=-1), [hidden, cell]
            )
            hidden = output + embeddings
        return hidden

    def get_config(self):
        return {**super().get_config(), "size": self.size, "reads": self.reads}
