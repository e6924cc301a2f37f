"""Measures kinds of controllers on the validation tasks, each meta-trained alike.

    python benchmarks/meta_adam/ablation.py [--variants NAME ...] [--meta-steps 2100]

Each variant is one meta-training run (`train.py`) of the configuration in
`ablation.json` with one thing changed, and of `--meta-steps` steps; two run at once,
and what was begun goes on. Writes `results/meta_adam_ablation.json`.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import backend  # noqa: F401
import validation

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent))

from recording import machine, write_json  # noqa: E402

VARIANTS = {
    "hidden layer of 16, as shipped": {},
    "linear": {"units": 0},
    "with the gradient mixed in": {"mixing": True},
    "without regard to falling behind Adam": {"risk": 0.0},
    "another seed": {"seed": 1},
}
CONFIG = HERE / "ablation.json"
AT_ONCE = 2


def trained(name, folder, meta_steps):
    """Starts the meta-training of a variant; returns its folder and the process."""
    run = folder / "_".join(name.replace(",", "").split())
    run.mkdir(parents=True, exist_ok=True)
    base = json.loads(CONFIG.read_text())
    config = base | VARIANTS[name]
    if VARIANTS[name] and config == base:
        raise ValueError(f"Variant {name!r} must differ from {CONFIG}.")
    path = run / "wanted.json"
    path.write_text(json.dumps(config))
    command = [sys.executable, str(HERE / "train.py"), f"--run={run}"]
    command += [f"--config={path}", f"--until={meta_steps}"]
    return run, subprocess.Popen(command)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = HERE.parent / "runs" / "meta_adam_ablation"
    parser.add_argument("--folder", type=pathlib.Path, default=default)
    parser.add_argument("--meta-steps", type=int, default=2_100)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    options = parser.parse_args()
    validation.use_cache(options.folder / "cache")
    runs = {}
    for start in range(0, len(options.variants), AT_ONCE):
        begun = {
            name: trained(name, options.folder, options.meta_steps)
            for name in options.variants[start : start + AT_ONCE]
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
            "config": json.loads(CONFIG.read_text()),
            "meta_steps": options.meta_steps,
            "tasks": list(found["baselines"]),
            "rows": {
                name: {
                    "changes": VARIANTS[name],
                    "score": validation.score(found, name),
                    "ratios": validation.summary(found, name),
                }
                for name in options.variants
            },
        },
    )


if __name__ == "__main__":
    main()
