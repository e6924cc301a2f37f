"""What `import keras_meta` does not import."""

import json
import subprocess
import sys

# Keras itself imports some of these where they are installed: what is asked for by
# this package's own modules counts, not what is loaded.
PROGRAM = """
import builtins, json, sys
import keras

before = {name.partition(".")[0] for name in sys.modules}
asked, original = [], builtins.__import__

def watched(name, globals=None, *rest):
    importer = (globals or {}).get("__name__") or ""
    if importer.startswith("keras_meta"):
        asked.append(name.partition(".")[0])
    return original(name, globals, *rest)

builtins.__import__ = watched
import keras_meta
builtins.__import__ = original
after = {name.partition(".")[0] for name in sys.modules}
print(json.dumps([sorted(set(asked)), sorted(after - before)]))
"""
LATER = {
    "keras_tuner",
    "matplotlib",
    "rich",
    "scipy",
    "sklearn",
    "tensorflow",
    "threadpoolctl",
}


def test_import_leaves_what_is_needed_later_for_later():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    asked, loaded = json.loads(done.stdout.splitlines()[-1])
    assert {"keras", "numpy", "safetensors"} <= set(asked)  # It does see imports.
    assert not LATER & set(asked)
    assert "keras_tuner" not in loaded
