"""Fits rates that were learned on one architecture to another."""

from typing import NamedTuple

import numpy as np

from keras_meta.optimizers.parameter_specs import canonical_paths

GRANULARITIES = ("parameter", "tensor", "layer")


class RateGroup(NamedTuple):
    """The parameters that one entry of theta serves."""

    indices: tuple  # positions of the parameters
    path: str  # canonical path of the tensor or the layer
    kind: str  # "dense/kernel", or "dense" for a layer
    names: tuple  # the parameters' own names, ("kernel",)
    shape: tuple  # of the theta entry; () for one rate


def rate_groups(specs, granularity):
    """Returns the groups of a granularity, in the order of the parameters.

    `"parameter"`: a rate for every coordinate; `"tensor"`: one for each variable;
    `"layer"`: one for each run of neighbouring variables of one layer.
    """
    paths = canonical_paths(specs)
    groups = []
    for index, (spec, path) in enumerate(zip(specs, paths, strict=True)):
        name = path.rpartition("/")[2]
        if granularity != "layer":
            shape = spec.shape if granularity == "parameter" else ()
            groups.append(RateGroup((index,), path, spec.kind, (name,), shape))
            continue
        layer = path.rpartition("/")[0] or path
        if groups and groups[-1].path == layer:
            last = groups[-1]
            groups[-1] = last._replace(
                indices=(*last.indices, index), names=(*last.names, name)
            )
        else:
            kind = spec.kind.rpartition("/")[0] or spec.kind
            groups.append(RateGroup((index,), layer, kind, (name,), ()))
    return groups


def match_rates(source_groups, source_arrays, target_groups):
    """Returns one array for each target group, and what had no exact match.

    Architectures with the same names and shapes in the same order match by
    position; where the source's names are not known, `()`, shapes decide. Otherwise
    a group matches by canonical path and shape; else it gets the mean of the group
    with its path; else the mean of its kind (`"dense/kernel"`); else the mean of all.

    Args:
        source_groups: list of `RateGroup`.
        source_arrays: their float32 arrays.
        target_groups: list of `RateGroup`.

    Returns:
        Tuple `(arrays, inexact)`; `inexact` is a list of sentences, one for each
        target group that was filled with a mean.
    """
    same = len(source_groups) == len(target_groups) and all(
        source.names in ((), target.names) and source.shape == target.shape
        for source, target in zip(source_groups, target_groups, strict=True)
    )
    if same:
        return list(source_arrays), []
    by_path = {
        group.path: array
        for group, array in zip(source_groups, source_arrays, strict=True)
    }
    by_kind = {}
    for group, array in zip(source_groups, source_arrays, strict=True):
        by_kind.setdefault(group.kind, []).append(np.ravel(array))
    everything = np.concatenate([np.ravel(array) for array in source_arrays])
    arrays, inexact = [], []
    for group in target_groups:
        array = by_path.get(group.path)
        if array is not None and array.shape == group.shape:
            arrays.append(array)
            continue
        if array is not None:
            mean, reason = array.mean(), f"was learned with shape {array.shape}"
        elif group.kind in by_kind:
            mean = np.concatenate(by_kind[group.kind]).mean()
            reason = f"was not learned; other {group.kind!r} were"
        else:
            mean, reason = everything.mean(), "was not learned, nor any of its kind"
        arrays.append(np.full(group.shape, mean, dtype="float32"))
        inexact.append(f"{group.path} {group.shape} {reason}")
    return arrays, inexact
