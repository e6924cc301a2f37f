"""How benchmarks record what they measure."""

import importlib.metadata
import json
import os
import pathlib
import platform

import numpy as np

PACKAGES = ("keras", "tensorflow", "numpy", "jax", "torch", "learn2learn")


def machine():
    """Returns what the numbers were measured on: versions, cores, processor."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "packages": versions,
    }


def percentiles(values):
    """Returns the median of `values` and the quartiles around it."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {"median": float(middle), "quartiles": [float(low), float(high)]}


def kept(path, field, measured, rounds):
    """Returns the recorded results that are not measured again.

    Args:
        path: of the results, which need not exist.
        field: str, what names a result.
        measured: list of str, the names of those that are.
        rounds: int, of the new ones.

    Raises:
        ValueError: if the recorded ones had another number of rounds, or another
            machine, for one is told of all.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return []
    recorded = recorded_here(path)
    results = [r for r in recorded["results"] if r[field] not in measured]
    if results and recorded["rounds"] != rounds:
        raise ValueError(
            f"{path} keeps {len(results)} results of {recorded['rounds']} rounds: the "
            f"new ones must have as many. Received: {rounds} rounds. Pass the same "
            "number, or another `--output`."
        )
    return results


def recorded_here(path):
    """Returns what is recorded in a file, of which a part is to be kept.

    Raises:
        ValueError: if it was measured on another machine or with other versions.
    """
    recorded = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    if recorded["machine"] != machine():
        raise ValueError(
            f"{path} keeps results of another machine or of other versions: "
            f"{recorded['machine']}. Received: {machine()}. Measure all of them anew, "
            "or pass another `--output`."
        )
    return recorded


def write_json(path, results):
    """Writes results, readable and stable in order."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")
