"""One preset in memory: its card, what was learned, and how to use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_meta.presets.card import PresetError
from keras_meta.presets.files import read_preset, write_preset
from keras_meta.presets.serialized_object import build_model, build_optimizer

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import keras
    from numpy.typing import ArrayLike
    from typing_extensions import Self

    from keras_meta.optimizers import LearnedOptimizer

THETA = "theta/"
ARRAY_LISTS = ("initialization", "non_trainable")
MAX_LISTED = 5


class Preset:
    """Holds what meta-training learned: theta, an initialization, or both.

    Args:
        card: dict of JSON values. Entries that are used here, all optional:
            `title`, a str; `optimizer` and `model`, what
            `keras.saving.serialize_keras_object()` gave; `parameters`, list of
            `{"path": str, "shape": [ints]}`, the trainable variables that theta
            was learned on; `initialization` and `non_trainable`, such lists for
            the arrays of the same name (see `describe_variables()`).
        theta: dict of str to float32 array of any shape: the meta-parameters.
        initialization: list of arrays, one for each trainable variable of the
            model in order, or empty.
        non_trainable: list of arrays, one for each non-trainable weight of the
            model in order (such as moving means), or empty.

    Attributes:
        source: str, the name or path that it was read from, or None.

    Raises:
        PresetError: if an argument is not as described.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> preset = Preset(
    ...     {"title": "Ones", "parameters": describe_variables(model.weights)},
    ...     initialization=[np.ones((3, 2)), np.zeros(2)],
    ... )
    >>> preset.initialize(model) is model
    True
    >>> float(model.weights[0][0, 0])
    1.0
    """

    def __init__(
        self,
        card: Mapping[str, Any],
        theta: Mapping[str, np.ndarray] | None = None,
        initialization: Sequence[ArrayLike] = (),
        non_trainable: Sequence[ArrayLike] = (),
    ) -> None:
        self.card = dict(card)
        self.theta = dict(theta or {})
        self.initialization = list(initialization)
        self.non_trainable = list(non_trainable)
        self.source = None
        for name, value in self.theta.items():
            if not isinstance(value, np.ndarray) or value.dtype != np.float32:
                raise PresetError(
                    f"theta[{name!r}] must be a float32 NumPy array. Received: "
                    f"{getattr(value, 'dtype', type(value).__name__)}."
                )
        for key in ARRAY_LISTS:
            self._check_described_shapes(key)

    @classmethod
    def from_file(cls, path: str | os.PathLike) -> Self:
        """Reads a preset from a `.kmeta` file.

        Args:
            path: str or `os.PathLike`.

        Returns:
            A `Preset`.

        Raises:
            PresetError: if the file is missing, damaged or not a preset.
        """
        tensors, card = read_preset(path)
        theta, lists = {}, {key: {} for key in ARRAY_LISTS}
        # By name: a safetensors file is read in another order each time.
        for name, value in sorted(tensors.items()):
            group, _, rest = name.partition("/")
            if name.startswith(THETA) and rest:
                theta[rest] = value
            elif group in lists and rest.isdecimal():
                lists[group][rest] = value
            else:
                raise PresetError(
                    f"The preset file {str(path)!r} holds a tensor that is not part of "
                    "a preset: names are 'theta/NAME', 'initialization/000' or "
                    f"'non_trainable/000'. Received: {name!r}."
                )
        for group, arrays in lists.items():
            missing = {f"{i:03d}" for i in range(len(arrays))} - set(arrays)
            if missing:
                raise PresetError(
                    f"The preset file {str(path)!r} lacks the tensor "
                    f"'{group}/{min(missing)}'. Received: {sorted(arrays)[:8]}."
                )
        ordered = {
            group: [arrays[f"{i:03d}"] for i in range(len(arrays))]
            for group, arrays in lists.items()
        }
        try:
            preset = cls(card, theta, **ordered)
        except PresetError as error:
            raise PresetError(
                f"The preset file {str(path)!r} contradicts itself: {error} Get the "
                "file again."
            ) from error
        preset.source = str(path)
        return preset

    @property
    def parameters(self) -> list[dict[str, Any]]:
        """list of `{"path": str, "shape": [ints]}`: what theta was learned on."""
        return self.card.get("parameters", [])

    def save(self, path: str | os.PathLike) -> None:
        """Writes the preset to one `.kmeta` file, all or nothing.

        Args:
            path: str or `os.PathLike` that ends in `.kmeta`, in an existing folder.

        Raises:
            PresetError: if the card or an array cannot be stored.
            OSError: if the file cannot be written.
        """
        write_preset(path, self.tensors(), self.card)

    def tensors(self) -> dict[str, np.ndarray]:
        """Returns all arrays under the names that they have in the file.

        Returns:
            dict of str to array: `theta/NAME`, `initialization/000`, ...,
            `non_trainable/000`, ...
        """
        tensors = {f"{THETA}{name}": value for name, value in self.theta.items()}
        for key in ARRAY_LISTS:
            for index, value in enumerate(getattr(self, key)):
                tensors[f"{key}/{index:03d}"] = value
        return tensors

    def optimizer(self, **overrides: Any) -> LearnedOptimizer:
        """Builds a fresh optimizer that carries the learned theta.

        Args:
            **overrides: values for keys of the optimizer's config, such as
                `clipnorm=1.0`.

        Returns:
            A learned optimizer, ready for `model.compile(optimizer=...)`.

        Raises:
            PresetError: if the preset has no optimizer, if its class is not
                registered in this process, or if it cannot be built.
            ValueError: if an override is not a key of the config.
        """
        if "optimizer" not in self.card:
            raise PresetError(
                "This preset holds no optimizer, only an initialization: use "
                "`preset.initialize(model)` and any Keras optimizer. "
                f"Received the card keys {sorted(self.card)}."
            )
        serialized = self.card["optimizer"]
        if self.source and "preset" in serialized["config"]:
            config = {**serialized["config"], "preset": self.source}
            serialized = {**serialized, "config": config}
        optimizer = build_optimizer(serialized, overrides)
        # Copies: an optimizer may train on without changing the preset.
        theta = {name: value.copy() for name, value in self.theta.items()}
        shapes = [(item["path"], tuple(item["shape"])) for item in self.parameters]
        optimizer.set_theta(theta, shapes)
        return optimizer

    def initialize(self, model: keras.Model) -> keras.Model:
        """Assigns the learned initialization to a model, all of it or nothing.

        Args:
            model: built `keras.Model` with the same variables in the same order:
                the same count, shapes and names (the last part of `path`).

        Returns:
            The same model.

        Raises:
            PresetError: if the preset has no initialization.
            ValueError: if the model is not built or has other variables.
        """
        if not self.initialization:
            raise PresetError(
                "This preset holds no initialization, only an optimizer: use "
                "`preset.optimizer()`. "
                f"Received the card keys {sorted(self.card)}."
            )
        if not model.built:
            raise ValueError(
                "Argument `model` must be built before it is initialized: call it on a "
                "batch, or start it with `keras.Input`. "
                f"Received: model={model.name!r} without variables."
            )
        pairs = self._matched("initialization", model.trainable_variables)
        pairs += self._matched("non_trainable", model.non_trainable_weights)
        for variable, value in pairs:
            variable.assign(value)
        return model

    def model(self) -> keras.Model:
        """Rebuilds the model that the preset was learned on, initialized.

        Returns:
            A `keras.Model`, not compiled by keras_meta.

        Raises:
            PresetError: if the preset has no model, if it cannot be built, or if its
                weights are larger than those that are stored.
        """
        if "model" not in self.card:
            raise PresetError(
                "This preset does not hold the model's architecture: build the model "
                "yourself and call `preset.initialize(model)`. "
                f"Received the card keys {sorted(self.card)}."
            )
        stored = (*self.initialization, *self.non_trainable)
        num_stored = sum(np.size(value) for value in stored)
        return self.initialize(build_model(self.card["model"], num_stored))

    def _matched(self, key, variables):
        """Pairs variables with arrays, or raises and lists what differs."""
        arrays, described = getattr(self, key), self._described(key)
        faults = []
        for index in range(max(len(arrays), len(variables))):
            found = wanted = "nothing"
            if index < len(variables):
                variable = variables[index]
                found = f"{variable.path!r} {tuple(variable.shape)}"
            if index < len(arrays):
                path = described[index]["path"] if described else f"{key}/{index:03d}"
                wanted = f"{path!r} {arrays[index].shape}"
            if (
                "nothing" in (found, wanted)
                or tuple(variable.shape) != arrays[index].shape
                or (described and _last(path) != _last(variable.path))
            ):
                faults.append(f"{index}: expected {wanted}, received {found}")
        if faults:
            shown = "; ".join(faults[:MAX_LISTED])
            more = len(faults) - MAX_LISTED
            raise ValueError(
                f"The model's {key.replace('initialization', 'trainable')} variables "
                "are not those that the preset was learned on, nothing was assigned. "
                "Build the same layers in the same order with the same `trainable`, or "
                "use `preset.model()` if the preset holds the model. "
                f"Differing: {shown}{f'; and {more} more' if more > 0 else ''}."
            )
        return list(zip(variables, arrays, strict=True))

    def _described(self, key):
        """Returns the paths and shapes of an array list, or None if unknown."""
        if key in self.card:
            return self.card[key]
        # Theta may be for some of the variables only: then names are unknown.
        if key == "initialization" and len(self.parameters) == len(self.initialization):
            return self.parameters
        return None

    def _check_described_shapes(self, key):
        described = self.card.get(key)
        arrays = getattr(self, key)
        shapes = [list(np.shape(value)) for value in arrays]
        if described is not None and shapes != [list(d["shape"]) for d in described]:
            raise PresetError(
                f"The card's `{key}` must describe the arrays of the same name. "
                f"Received: {len(described)} described and {len(arrays)} arrays, or "
                "arrays of other shapes."
            )


def describe_variables(variables):
    """Describes variables for a card: their paths and shapes, in order.

    Args:
        variables: list of `keras.Variable`.

    Returns:
        list of `{"path": str, "shape": [ints]}`.

    Example:

    >>> import keras
    >>> describe_variables([keras.Variable([1.0, 2.0], name="w")])
    [{'path': 'w', 'shape': [2]}]
    """
    return [{"path": v.path, "shape": [int(n) for n in v.shape]} for v in variables]


def _last(path):
    return path.rsplit("/", 1)[-1]
