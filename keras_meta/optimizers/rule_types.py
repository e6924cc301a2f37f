"""Names for what update rules take and give; for annotations only."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
from numpy.typing import ArrayLike

from keras_meta.optimizers.parameter_specs import ParameterSpec

# Of Keras' current backend: TensorFlow's, JAX's and torch's tensors share no class.
Tensor: TypeAlias = Any
Tensors: TypeAlias = Sequence[Tensor]
Theta: TypeAlias = Mapping[str, Tensor]
GivenTheta: TypeAlias = Mapping[str, ArrayLike]
# A tensor, or a list of them, one for each parameter.
State: TypeAlias = dict[str, Any]
Shapes: TypeAlias = Sequence[tuple[int, ...]] | Mapping[str, tuple[int, ...]]
# (path, shape) of each parameter.
NamedShapes: TypeAlias = Iterable[tuple[str, Sequence[int]]]
Specs: TypeAlias = Sequence[ParameterSpec]
LearningRate: TypeAlias = (
    float
    | keras.optimizers.schedules.LearningRateSchedule
    | Callable[[], float | Tensor]
)
Variables: TypeAlias = Iterable[keras.Variable]
