"""The console script `keras-meta`: presets, pools of past searches, the demo."""

import argparse

from keras_meta import __version__
from keras_meta.cli_output import fail, new_console, plain_table, plain_text
from keras_meta.cli_pool import add_pool_commands
from keras_meta.presets import Preset, PresetError, list_presets
from keras_meta.presets.registry import find_preset

MAX_EVALUATION_ROWS = 12
DEMO_PACKAGES = ("matplotlib", "sklearn", "tensorboard")
# Shown in tables of their own, or too long to read.
OWN_TABLE = ("title", "optimizer", "model", "evaluation", "sha256", "schema_version")
NOT_SHOWN = ("parameters", "initialization", "non_trainable", "card_sha256")


def main(argv=None):
    """Runs one command of `keras-meta`.

    Args:
        argv: list of str, the arguments without the program's name. Default:
            those of the process.

    Returns:
        int, the exit status: 0, or 2 with one line on stderr when a preset or a pool
        is missing or damaged, a folder holds no project, a file cannot be read, or a
        package is missing.

    Example:

    >>> main(["inspect", "./no-such-file.kmeta"])
    2
    """
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except (PresetError, OSError) as error:
        return fail(error)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in DEMO_PACKAGES:
            raise
        return fail(
            f"The demonstration needs the package {error.name!r}: run "
            "`pip install 'keras_meta[demo]'`."
        )


def _parser():
    parser = argparse.ArgumentParser(
        prog="keras-meta",
        description="Meta-learning for Keras: presets, past searches and a demo.",
    )
    parser.add_argument(
        "--version", action="version", version=f"keras_meta {__version__}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    inspect = commands.add_parser("inspect", help="show what a preset holds")
    inspect.add_argument(
        "preset", metavar="FILE_OR_NAME", help="a .kmeta file or a shipped preset"
    )
    inspect.set_defaults(run=_inspect)
    presets = commands.add_parser("presets", help="list the presets that ship")
    presets.set_defaults(run=_presets)
    demo = commands.add_parser("demo", help="run the demonstration")
    demo.add_argument("--quick", action="store_true", help="a smaller, shorter run")
    demo.add_argument("--output", metavar="DIR", help="folder for the results")
    demo.set_defaults(run=_demo)
    add_pool_commands(commands)
    return parser


def _inspect(arguments):
    path = find_preset(arguments.preset)
    preset = Preset.from_file(path)
    card = preset.card
    console = new_console()
    summary = {"file": path, "size": _size(path)}
    for key in ("optimizer", "model"):
        if key in card:
            name = card[key].get("registered_name")
            summary[f"{key} class"] = name or card[key]["class_name"]
    summary |= {key: card[key] for key in ("schema_version", "sha256")}
    _print_pairs(console, card.get("title") or path.stem, summary)
    if "optimizer" in card:
        _print_pairs(console, "Optimizer config", _flat(card["optimizer"]["config"]))
    rest = {k: v for k, v in card.items() if k not in OWN_TABLE + NOT_SHOWN}
    _print_pairs(console, "Trained on and written with", _flat(rest))
    _print_evaluation(console, card.get("evaluation", {}))
    _print_tensors(console, preset.tensors())
    return 0


def _presets(arguments):
    names = list_presets()
    console = new_console()
    if not names:
        console.print("No presets ship with this installation.")
        return 0
    table = plain_table("Shipped presets", "name", "title", "size")
    for name in names:
        path = find_preset(name)
        title = Preset.from_file(path).card.get("title", "")
        table.add_row(plain_text(name), plain_text(title), plain_text(_size(path)))
    console.print(table)
    return 0


def _demo(arguments):
    # Lazily: only this command needs TensorFlow and the demo's packages.
    from keras_meta.demo.run import main as run_demo

    return run_demo(quick=arguments.quick, output=arguments.output) or 0


def _print_pairs(console, title, pairs):
    if not pairs:
        return
    table = plain_table(title, "entry", "value")
    for key, value in pairs.items():
        table.add_row(plain_text(key), plain_text(value))
    console.print(table)


def _print_evaluation(console, evaluation):
    """Prints one row for each inner step and one column for each metric."""
    results = evaluation.get("results")
    columns = {}
    for name, result in results.items() if isinstance(results, dict) else ():
        if _has_intervals(result):
            columns[name] = list(zip(result["mean"], result["ci95"], strict=True))
    rest = {k: v for k, v in evaluation.items() if k != "results" or not columns}
    _print_pairs(console, "Evaluation", _flat(rest))
    if not columns:
        return
    count = max(map(len, columns.values()))
    table = plain_table("Evaluation: mean ± ci95", "after inner step", *columns)
    for step in _some(count):
        cells = [
            f"{pairs[step][0]:.4f} ± {pairs[step][1]:.4f}" if step < len(pairs) else ""
            for pairs in columns.values()
        ]
        table.add_row(plain_text(step), *map(plain_text, cells))
    console.print(table)


def _has_intervals(result):
    if not isinstance(result, dict):
        return False
    mean, half = result.get("mean"), result.get("ci95")
    return (
        isinstance(mean, list)
        and isinstance(half, list)
        and len(mean) == len(half) > 0
        and all(type(value) in (int, float) for value in mean + half)
    )


def _some(count):
    """Returns all steps if they are few, else some, evenly, with both ends."""
    if count <= MAX_EVALUATION_ROWS:
        return range(count)
    last = MAX_EVALUATION_ROWS - 1
    return [i * (count - 1) // last for i in range(MAX_EVALUATION_ROWS)]


def _print_tensors(console, tensors):
    table = plain_table("Tensors", "name", "dtype", "shape", "values")
    for name, value in tensors.items():
        cells = (name, value.dtype, value.shape, f"{value.size:,}")
        table.add_row(*map(plain_text, cells))
    total = sum(value.size for value in tensors.values())
    table.add_row("total", "", "", f"{total:,}")
    console.print(table)


def _flat(value, prefix=""):
    """Flattens nested dicts to one dict with dots between the keys."""
    flat = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            flat |= _flat(item, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = item
    return flat


def _size(path):
    size = path.stat().st_size
    return f"{size:,} bytes" if size < 10_000 else f"{size / 1000:,.0f} kB"
