"""How a parameter is named and shaped, and how two architectures' are matched."""

import re
from typing import NamedTuple


class ParameterSpec(NamedTuple):
    """A parameter's path (`"sequential/dense/kernel"`) and shape."""

    path: str
    shape: tuple

    @property
    def layer(self):
        """The path of the layer that owns the parameter; its own path if none."""
        return self.path.rpartition("/")[0] or self.path

    @property
    def kind(self):
        """The layer's kind and the parameter's name: `"dense/kernel"`.

        Keras numbers layers as it makes them, so `dense_3` and `dense` are of one
        kind.
        """
        layer, _, name = self.path.rpartition("/")
        return f"{_without_number(layer.rpartition('/')[2])}/{name}"


def specs_of(variables):
    """Returns the specs of variables, with paths made unique by a suffix."""
    specs, seen = [], {}
    for variable in variables:
        path = getattr(variable, "path", None) or variable.name
        seen[path] = seen.get(path, -1) + 1
        unique = f"{path}~{seen[path]}" if seen[path] else path
        specs.append(ParameterSpec(unique, tuple(int(n) for n in variable.shape)))
    return tuple(specs)


def canonical_paths(specs):
    """Returns paths that do not depend on how often Keras made such a layer before.

    The model's own name is dropped and automatic layer names are renumbered in
    order of appearance: `sequential_1/dense_3/kernel` becomes `dense/kernel` if it
    is the first dense layer. Names that a user chose stay.
    """
    tops = {spec.path.split("/")[0] for spec in specs if spec.path.count("/") >= 2}
    drop_top = len(tops) == 1 and all(spec.path.count("/") >= 2 for spec in specs)
    renamed, counts, paths = {}, {}, []
    for spec in specs:
        parts = spec.path.split("/")[1 if drop_top else 0 :]
        new = []
        for depth, part in enumerate(parts[:-1]):
            key = ("/".join(parts[: depth + 1]), depth)
            if key not in renamed:
                parent = "/".join(new)
                kind = _without_number(part)
                number = counts.get((parent, kind), 0)
                counts[(parent, kind)] = number + 1
                renamed[key] = f"{kind}_{number}" if number else kind
            new.append(renamed[key])
        paths.append("/".join([*new, parts[-1]]))
    return paths


def _without_number(name):
    return re.sub(r"_\d+$", "", name)
