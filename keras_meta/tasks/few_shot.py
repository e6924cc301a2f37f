"""Few-shot classification: tell a few classes apart from a few examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from keras_meta.tasks import counter_random
from keras_meta.tasks.row_table import RowTable, first_bad_row, name_some
from keras_meta.tasks.task import Episode, TaskDistribution, check_count

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class FewShotClassification(TaskDistribution):
    """N-way k-shot episodes from a labelled data set.

    An episode draws `ways` classes in random order, numbers them from 0, and draws
    `shots` support and `queries` query examples of each, all distinct (Vinyals et
    al. 2016, arXiv:1606.04080, section 4.1). Examples are ordered by class.

    - support_x: float32 `(ways * shots, ...)`, query_x: `(ways * queries, ...)`.
    - support_y: int32 `(ways * shots,)`, query_y: `(ways * queries,)`, in [0, ways).

    Values are cast to float32 and not scaled: bytes stay in [0, 255]. The data are
    kept in their own dtype and cast after the draw.

    Args:
        images: array `(n, H, W)`, which gets a channel axis, `(n, H, W, channels)`,
            or any `(n, ...)`; numeric and finite. With `labels=None`: the same with
            two leading axes, `(classes, examples, ...)`.
        labels: integer array `(n,)`, or None.
        ways: int >= 1, classes an episode.
        shots: int >= 1, support examples a class.
        queries: int >= 1, query examples a class.
        rotations: bool. True makes four classes of each, its images turned by 0,
            90, 180 and 270 degrees counterclockwise (Santoro et al. 2016,
            arXiv:1605.06065, section 4.2). Images must be square.

    Attributes:
        num_classes: int, classes to draw from, rotations included.

    Raises:
        ValueError: if the data are empty, not numeric or not finite, the labels do
            not fit, there are fewer classes than `ways`, or a class has fewer than
            `shots + queries` examples.

    Example:

    ```python
    from sklearn.datasets import load_digits

    digits = load_digits()
    tasks = keras_meta.tasks.FewShotClassification(
        digits.images, digits.target, ways=5, shots=1, queries=15
    )
    print(tasks.sample(seed=0).support_x.shape)  # (5, 8, 8, 1)
    ```
    """

    def __init__(
        self,
        images: ArrayLike,
        labels: ArrayLike | None = None,
        ways: int = 5,
        shots: int = 1,
        queries: int = 15,
        rotations: bool = False,
    ) -> None:
        self.ways = check_count("ways", ways)
        self.shots = check_count("shots", shots)
        self.queries = check_count("queries", queries)
        if not isinstance(rotations, (bool, np.bool_)):
            raise ValueError(
                "Argument `rotations` must be True or False. "
                f"Received: rotations={rotations!r}."
            )
        self.rotations = bool(rotations)
        # How the images were read, where nothing but their shape tells the classes.
        self._layout = ""
        if labels is None:
            self._layout = (
                f" labels=None reads images of shape {np.shape(images)} as (classes, "
                "examples, ...): if their leading axis is examples, pass `labels`."
            )
        images, labels = _check_data(images, labels)
        if images.ndim == 3:
            images = images[..., np.newaxis]
        if self.rotations and (images.ndim != 4 or images.shape[1] != images.shape[2]):
            raise ValueError(
                "Argument `rotations=True` needs square images `(n, H, H)` or "
                "`(n, H, H, channels)`. Received: images of shape "
                f"{images.shape[1:]}. Crop them, or pass rotations=False."
            )
        classes, codes = np.unique(labels, return_inverse=True)
        self.num_classes = len(classes) * (4 if self.rotations else 1)
        self._check_classes(classes, np.bincount(codes))
        self._table = RowTable(codes, len(classes))
        self._num_images = len(images)
        self._image_shape = images.shape[1:]
        with tf.init_scope():
            if self.rotations:
                side = images.shape[1]
                self._turned = tf.constant(_turned_pixels(side))  # (4, H * H)
                images = images.reshape(len(images), side * side, -1)
            self._images = tf.constant(images)

    def sample(self, seed: int | tf.Tensor) -> Episode:
        """Returns the classes and examples that belong to `seed`.

        Args:
            seed: int >= 0 or int64 tensor `(2,)`.

        Returns:
            `Episode`, see the class.
        """
        ways, max_size = self.ways, self._table.max_size
        draws = counter_random.bits(seed, (self.num_classes + ways * max_size,))
        class_draws, example_draws = tf.split(
            draws, [self.num_classes, ways * max_size]
        )
        chosen = counter_random.choose_from_bits(class_draws, ways)  # (ways,)
        classes = chosen // 4 if self.rotations else chosen
        positions = counter_random.choose_from_bits(
            tf.reshape(example_draws, (ways, max_size)),
            self.shots + self.queries,
            sizes=tf.gather(self._table.sizes, classes),
        )  # (ways, shots + queries)
        images = tf.gather(self._images, self._table.rows(classes, positions))
        if self.rotations:
            pixels = tf.gather(self._turned, chosen % 4)  # (ways, H * H)
            images = tf.gather(images, pixels, axis=2, batch_dims=1)
        images = tf.cast(images, tf.float32)  # (ways, shots + queries, ...)
        support, query = tf.split(images, [self.shots, self.queries], axis=1)
        labels = np.arange(ways, dtype=np.int32)
        return Episode(
            tf.reshape(support, (ways * self.shots, *self._image_shape)),
            tf.constant(np.repeat(labels, self.shots)),
            tf.reshape(query, (ways * self.queries, *self._image_shape)),
            tf.constant(np.repeat(labels, self.queries)),
        )

    def describe(self) -> dict[str, Any]:
        """Returns JSON-able facts: the base class's, `arguments` and `data`."""
        return super().describe() | {
            "arguments": {
                "ways": self.ways,
                "shots": self.shots,
                "queries": self.queries,
                "rotations": self.rotations,
            },
            "data": {
                "images": self._num_images,
                "image_shape": list(self._image_shape),
                "dtype": self._images.dtype.name,
                "classes": self.num_classes,
            },
        }

    def _check_classes(self, classes, sizes):
        if self.num_classes < self.ways:
            hint = "" if self.rotations else ", pass rotations=True for four times more"
            raise ValueError(
                "Argument `ways` must be at most the number of classes. "
                f"Received: ways={self.ways}, {self.num_classes} classes. "
                f"Lower `ways`{hint}, or bring more classes.{self._layout}"
            )
        needed = self.shots + self.queries
        small = np.flatnonzero(sizes < needed)
        if len(small):
            named = name_some(classes[small].tolist(), sizes[small].tolist())
            raise ValueError(
                f"Every class needs at least shots + queries = {needed} examples. "
                f"Too few in {len(small)} of {len(classes)} classes: {named}. "
                "Lower `shots` or `queries`, or drop these classes."
                f"{self._layout}"
            )


def _check_data(images, labels):
    """Returns images `(n, ...)` and integer labels `(n,)`, checked."""
    images = np.asarray(images)
    leading = 1 if labels is not None else 2
    if images.ndim <= leading or images.size == 0:
        layout = "(n, ...)" if labels is not None else "(classes, examples, ...)"
        raise ValueError(
            f"Argument `images` must be an array `{layout}` that is not empty"
            f"{'' if labels is not None else ', where `labels` is None'}. "
            f"Received: shape {images.shape}."
        )
    if images.dtype.kind not in "buif":
        raise ValueError(
            f"Argument `images` must hold real numbers. Received: dtype {images.dtype}."
        )
    if labels is None:
        classes, examples = images.shape[:2]
        labels = np.repeat(np.arange(classes), examples)
        images = images.reshape(-1, *images.shape[2:])
    labels = np.asarray(labels)
    if labels.shape != (len(images),):
        hint = " For one-hot labels pass labels.argmax(axis=1)."
        raise ValueError(
            "Argument `labels` must have one label an image, shape "
            f"({len(images)},). Received: shape {labels.shape}."
            f"{hint if labels.ndim == 2 else ''}"
        )
    if labels.dtype.kind not in "ui":
        raise ValueError(
            "Argument `labels` must hold integers. "
            f"Received: dtype {labels.dtype}. For names use "
            "np.unique(labels, return_inverse=True)[1]."
        )
    bad = first_bad_row(images)
    if bad is not None:
        place = bad if leading == 1 else ", ".join(map(str, divmod(bad, examples)))
        raise ValueError(
            "Argument `images` must be finite. Received: a NaN or an infinity, first "
            f"in images[{place}]. Remove or repair these images."
        )
    return images, labels


def _turned_pixels(side):
    """int64 `(4, side * side)`: for each turn, the pixel that moves to each place."""
    pixels = np.arange(side * side).reshape(side, side)
    return np.stack([np.rot90(pixels, turn).ravel() for turn in range(4)])
