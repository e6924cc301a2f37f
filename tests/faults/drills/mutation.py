"""Strategies that damage bytes and JSON, and the functions that apply them."""

import copy
import json

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

DEEP = 100_000
NUMBERS = (0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, 1e30, 0.5)
WORDS = (
    "",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "\0",
    "\ud800",
    "é",
    "NaN",
    "Lambda",
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.sampled_from(NUMBERS)
    | st.sampled_from((float("nan"), float("inf"), -float("inf")))
    | st.sampled_from(WORDS)
    | st.text(max_size=8)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(WORDS), inner, max_size=3
        )
    ),
    max_leaves=5,
)
PLACES = st.floats(0.0, 1.0, exclude_max=True)  # Of a file, or of a tree's nodes.

BYTES = st.one_of(
    st.tuples(st.just("flip"), PLACES, st.integers(0, 7)),
    st.tuples(st.just("cut"), PLACES, st.none()),
    st.tuples(st.just("put"), PLACES, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just("write"), PLACES, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just("remove"), PLACES, st.integers(1, 600)),
    st.tuples(st.just("blank"), PLACES, st.integers(1, 600)),
    st.tuples(st.just("double"), PLACES, st.integers(1, 600)),
    st.tuples(st.just("append"), PLACES, st.binary(min_size=1, max_size=16)),
)
SPLICES = st.one_of(
    st.tuples(st.just("value"), PLACES, VALUES),
    st.tuples(st.just("key"), PLACES, st.tuples(st.sampled_from(WORDS), VALUES)),
    st.tuples(st.just("gone"), PLACES, st.none()),
    st.tuples(st.just("twice"), PLACES, VALUES),
    st.tuples(st.just("deep"), PLACES, st.sampled_from(["[", '{"a":'])),
    st.tuples(st.just("digits"), PLACES, st.sampled_from([5_000, 200_000])),
)


def drilled(count, **strategies):
    """Runs a function on so many examples, the same ones each time."""
    quiet = settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    return lambda function: quiet(given(**strategies)(function))


def damaged(data, mutation):
    """Returns bytes with one of the `BYTES` done to them."""
    kind, place, what = mutation
    at = int(place * len(data))
    if kind == "flip":
        return data[:at] + bytes([data[at] ^ (1 << what)]) + data[at + 1 :]
    if kind == "cut":
        return data[:at]
    if kind == "put":
        return data[:at] + what + data[at:]
    if kind == "write":
        return (data[:at] + what + data[at + len(what) :])[: len(data)]
    if kind == "remove":
        return data[:at] + data[at + what :]
    if kind == "blank":
        return data[:at] + bytes(len(data[at : at + what])) + data[at + what :]
    if kind == "double":
        return data[: at + what] + data[at:]
    return data + what


def spliced(tree, splice):
    """Returns the JSON text of a tree with one of the `SPLICES` done to it."""
    kind, place, what = splice
    tree = copy.deepcopy(tree)
    nodes = list(_nodes(tree))
    holder, key = nodes[int(place * len(nodes))]
    mark = "a place that is found again"
    if kind == "value":
        holder[key] = what
    elif kind == "gone":
        del holder[key]
    elif kind == "key" and isinstance(holder, dict):
        holder[what[0]] = what[1]
    elif kind == "key":
        holder.insert(key, what[1])
    elif kind == "twice" and isinstance(holder, dict):
        # Marked: a dict cannot hold a key twice, a text can.
        other = f"{key}{mark}"
        holder[other] = what
        return json.dumps(tree).replace(json.dumps(other), json.dumps(key))
    elif kind == "twice":
        holder.insert(key, holder[key])
    else:
        holder[key] = mark
        ends = {"[": "]", '{"a":': "}"}
        if kind == "deep":
            text = what * DEEP + "1" + ends[what] * DEEP
        else:
            text = "9" * what
        return json.dumps(tree).replace(json.dumps(mark), text)
    return json.dumps(tree)


def _nodes(tree):
    """Yields (dict or list, key or index) of everything in a tree, from the top."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from _nodes(value)
