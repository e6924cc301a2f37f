"""What meta-training learned, as files: find, load, check and use them.

The lowest room: it knows NumPy, Keras and safetensors, no other room and no
backend.
"""

from keras_meta.presets.files import PresetError
from keras_meta.presets.preset import Preset
from keras_meta.presets.registry import list_presets, load

__all__ = ["Preset", "PresetError", "list_presets", "load"]
