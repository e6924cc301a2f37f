"""Meta-gradients of long runs: from windows, while the runs go on. One rule a file.

Each is a class with:

- `particles`, int: how many runs there are for each task;
- `carried(theta, unroll)`: a list of `tf.TensorSpec`, what it carries from window to
  window for each task, zeros where a run starts;
- `meta_gradient(window)`, which takes a `Window` and returns a `WindowResult`.
"""

from keras_meta.training.long_runs.es import ES
from keras_meta.training.long_runs.pes import PES
from keras_meta.training.long_runs.truncated import Truncated

LONG_RUN_GRADIENTS = {"truncated": Truncated, "pes": PES, "es": ES}

__all__ = ["ES", "LONG_RUN_GRADIENTS", "PES", "Truncated"]
