"""Names for what oracles and tuners take; for annotations only."""

import os
from collections.abc import Callable, Sequence
from typing import TypeAlias

import keras
import keras_tuner

from keras_meta.tuner.experience_pool import ExperiencePool

HyperModel: TypeAlias = (
    keras_tuner.HyperModel | Callable[[keras_tuner.HyperParameters], keras.Model]
)
Objectives: TypeAlias = (
    str | keras_tuner.Objective | Sequence[str | keras_tuner.Objective] | None
)
Folder: TypeAlias = str | os.PathLike
Experiences: TypeAlias = ExperiencePool | Folder | Sequence[Folder] | None
