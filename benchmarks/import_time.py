"""How long `import keras_meta` takes beyond TensorFlow's and Keras' own imports.

Two kinds of fresh processes take turns. Both import TensorFlow and Keras first: one
then times `import keras_meta`, by the clock and by the processor; the other lets
`python -X importtime` say which modules that time goes to. Bytecode is cached by one
process that is not counted. Writes `results/import_time.json`.

    python benchmarks/import_time.py [--rounds 5]
"""

import argparse
import json
import pathlib
import subprocess
import sys

from recording import machine, percentiles, write_json

HERE = pathlib.Path(__file__).parent
LIMIT = 0.3  # seconds, what the project promises
SHOWN = 8  # of the modules that take longest by themselves
TIMED = """
import json, time
begin = time.perf_counter()
import tensorflow, keras
after = time.perf_counter(), time.process_time()
import keras_meta
end = time.perf_counter(), time.process_time()
print(json.dumps({
    "tensorflow_and_keras": after[0] - begin,
    "keras_meta": end[0] - after[0],
    "keras_meta_processor": end[1] - after[1],
}))
"""
MARK = "keras_meta begins"
TRACED = f"""
import sys
import tensorflow, keras
print("{MARK}", file=sys.stderr, flush=True)
import keras_meta
"""


def timed():
    """Returns seconds of a fresh process's imports."""
    return json.loads(_run("-c", TIMED).stdout.splitlines()[-1])


def traced():
    """Returns seconds that each module of keras_meta's import took by itself."""
    errors = _run("-X", "importtime", "-c", TRACED).stderr
    lines = errors.partition(MARK)[2].splitlines()
    rows = [line.split("|") for line in lines if line.startswith("import time:")]
    found = {row[2].strip(): 1e-6 * int(row[0].partition(":")[2]) for row in rows}
    # It is printed when it is done: what comes after it are the process's last acts.
    last = 1 + list(found).index("keras_meta")
    return dict(list(found.items())[:last])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", default=HERE / "results" / "import_time.json")
    options = parser.parse_args()
    timed()
    times, modules = [], []
    for _ in range(options.rounds):
        times.append(timed())
        modules.append(traced())
        print(f"keras_meta: {times[-1]['keras_meta']:.3f} s", flush=True)
    names = set().union(*modules)
    own = {
        name: percentiles([found.get(name, 0.0) for found in modules])["median"]
        for name in names
    }
    largest = sorted(own, key=lambda name: -own[name])[:SHOWN]
    seconds = {key: percentiles([found[key] for found in times]) for key in times[0]}
    median = seconds["keras_meta"]["median"]
    print(f"median: {median:.3f} s, promised: below {LIMIT} s")
    results = {
        "seconds": seconds,
        "limit": LIMIT,
        "modules": len(names),
        "largest_modules": {name: own[name] for name in largest},
        "rounds": options.rounds,
        "machine": machine(),
    }
    write_json(options.output, results)


def _run(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True
    )


if __name__ == "__main__":
    main()
