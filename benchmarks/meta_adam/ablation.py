"""Measures kinds of controllers on the validation tasks, each meta-trained alike.

    python benchmarks/meta_adam/ablation.py [--folder benchmarks/runs/meta_adam]

Each variant is one meta-training run (`train.py`) of the shipped configuration with
one thing changed, and of `--meta-steps` steps; two run at once, and what was begun
goes on. Writes `results/meta_adam_ablation.json`.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import backend  # noqa: F401
import train
import validation

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent))

from recording import machine, write_json  # noqa: E402

VARIANTS = {
    "as shipped": {},
    "another seed": {"seed": 1},
    "linear": {"units": 0},
    "with the gradient mixed in": {"mixing": True},
    "without regard to falling behind Adam": {"risk": 0.0},
}
AT_ONCE = 2


def trained(name, changes, folder, meta_steps):
    """Starts the meta-training of a variant; returns its folder and the process."""
    run = folder / "_".join(name.replace(",", "").split())
    run.mkdir(parents=True, exist_ok=True)
    shipped = json.loads(train.CONFIG.read_text())
    config = shipped | changes
    if changes and config == shipped:
        raise ValueError(f"Variant {name!r} must differ from what ships: {changes}.")
    path = run / "wanted.json"
    path.write_text(json.dumps(config))
    command = [sys.executable, str(HERE / "train.py"), f"--run={run}"]
    command += [f"--config={path}", f"--until={meta_steps}"]
    return run, subprocess.Popen(command)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = HERE.parent / "runs" / "meta_adam"
    parser.add_argument("--folder", type=pathlib.Path, default=default)
    parser.add_argument("--meta-steps", type=int, default=2_500)
    options = parser.parse_args()
    validation.use_cache(options.folder / "cache")
    runs, items = {}, list(VARIANTS.items())
    for start in range(0, len(items), AT_ONCE):
        begun = {
            name: trained(name, changes, options.folder, options.meta_steps)
            for name, changes in items[start : start + AT_ONCE]
        }
        for name, (run, process) in begun.items():
            if process.wait() != 0:
                raise RuntimeError(f"The meta-training of {name!r} failed.")
            runs[name] = run
    thetas = {
        name: validation.load_theta(run / "theta.npz") for name, run in runs.items()
    }
    found = validation.measured(thetas, options.folder / "ablation.json")
    write_json(
        HERE.parent / "results" / "meta_adam_ablation.json",
        {
            "machine": machine(),
            "meta_steps": options.meta_steps,
            "tasks": list(found["baselines"]),
            "rows": {
                name: {
                    "changes": VARIANTS[name],
                    "score": validation.score(found, name),
                    "ratios": validation.summary(found, name),
                }
                for name in VARIANTS
            },
        },
    )


if __name__ == "__main__":
    main()
