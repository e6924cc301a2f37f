"""What `forked.py`'s server imports. To import it starts no device and no thread."""

import keras  # noqa: F401
import keras_tuner  # noqa: F401
import pytest  # noqa: F401
import tensorflow  # noqa: F401

import keras_meta  # noqa: F401
import keras_meta.tuner  # noqa: F401
