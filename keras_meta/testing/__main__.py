"""`python -m keras_meta.testing`: does this installation work?

Takes about a minute, needs no other file and no pytest, and writes to a temporary
folder only. One line for each check; the exit status is 1 if one of them failed.
"""

import argparse
import importlib.metadata
import logging
import pathlib
import platform
import sys
import tempfile
import time
import traceback

import keras_meta
from keras_meta.testing.smoke_checks import smoke_checks

# What keras_meta asks for.
PACKAGES = (
    "tensorflow",
    "keras",
    "keras-tuner",
    "numpy",
    "safetensors",
    "scipy",
    "rich",
    "threadpoolctl",
)


def main(argv=None, checks=None):
    """Runs the smoke suite, and prints one line for each check.

    Args:
        argv: list of str, the arguments without the program's name. Default: those
            of the process.
        checks: dict from name to function of a folder (`pathlib.Path`, empty, the
            check's own), which raises if something is wrong. Default: the suite.

    Returns:
        int, the exit status: 0, or 1 if a check failed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m keras_meta.testing", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--traceback", action="store_true", help="show where a check failed"
    )
    show_traceback = parser.parse_args(argv).traceback
    checks = smoke_checks() if checks is None else checks
    print(f"keras_meta {keras_meta.__version__} in {_folder()}")
    print(", ".join([f"Python {platform.python_version()}", *_versions()]))
    failed = 0
    with tempfile.TemporaryDirectory(prefix="keras_meta_") as root:
        for number, (name, check) in enumerate(checks.items()):
            folder = pathlib.Path(root, str(number))
            folder.mkdir()
            failed += not _passes(name, check, folder, show_traceback)
    print(f"{len(checks) - failed} passed, {failed} failed")
    return int(failed > 0)


def _passes(name, check, folder, show_traceback):
    """Runs one check, prints its line; returns whether it passed."""
    begin = time.perf_counter()
    error = None
    try:
        check(folder)
    except Exception as raised:  # Whatever it is: the next check runs.
        error = raised
    seconds = time.perf_counter() - begin
    found = "ok"
    if error is not None:
        found = f"{type(error).__name__}: {' '.join(str(error).split())}"
    print(f"{name:<35} {seconds:5.1f} s  {found}", flush=True)
    if error is not None and show_traceback:
        traceback.print_exception(error, file=sys.stdout)
    return error is None


def _folder():
    return pathlib.Path(keras_meta.__file__).parent


def _versions():
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{package} is missing")
    return found


if __name__ == "__main__":
    # Of many small models TensorFlow says that it traces often.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    sys.exit(main())
