"""The parts that the tables of the README and of `docs/` are made of."""

import json
import pathlib

HERE = pathlib.Path(__file__).parent


def load(name):
    return json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))


def markdown(header, rows):
    lines = ["| " + " | ".join(map(str, header)) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def machine_line(machine):
    packages = ", ".join(f"{k} {v}" for k, v in machine["packages"].items() if v)
    return (
        f"{machine['cores']} {machine['architecture']} cores, Python "
        f"{machine['python']}, {packages}."
    )


def with_quartiles(ratio):
    low, high = ratio["quartiles"]
    return f"{ratio['median']:.2f} ({low:.2f}-{high:.2f})"
