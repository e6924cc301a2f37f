"""Sine waves from ten points: meta-train Meta-SGD, save it, reload it, use it.

Run it with `python examples/sinusoid.py`; it takes about a minute and writes
`sinusoid.kmeta` to the current folder. `--quick` takes a few seconds.
"""

import argparse

import keras

import keras_meta

INNER_STEPS = 1


def build_model():
    """Returns the network of the Meta-SGD paper: 1-40-40-1."""
    return keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(40, "relu", kernel_initializer="he_normal"),
            keras.layers.Dense(40, "relu", kernel_initializer="he_normal"),
            keras.layers.Dense(1, kernel_initializer="he_normal"),
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few meta-steps only")
    quick = parser.parse_args().quick
    keras.utils.set_random_seed(0)

    # A task is a sine wave of its own amplitude, phase and frequency.
    tasks = keras_meta.tasks.Sinusoid(shots=10)
    trainer = keras_meta.MetaTrainer(
        build_model(), keras_meta.MetaSGD(), inner_steps=INNER_STEPS, seed=0
    )
    trainer.compile(keras.optimizers.Adam(1e-3), loss="mse")
    trainer.fit(
        tasks,
        meta_batch_size=4,
        steps_per_epoch=10 if quick else 1000,
        epochs=1 if quick else 20,
        verbose=2,
    )
    trainer.save_preset("sinusoid.kmeta", title="Sine waves from ten points")

    # In another program, on another day:
    trainer = keras_meta.MetaTrainer.from_preset("sinusoid.kmeta")
    episodes = 20 if quick else 600
    result = trainer.evaluate(tasks, episodes=episodes, verbose=0)
    print(f"Mean squared error on {episodes} new sine waves, 95 % intervals:")
    pairs = zip(result["loss"]["mean"], result["loss"]["ci95"], strict=True)
    for step, (mean, interval) in enumerate(pairs):
        print(f"  after {step} steps: {mean:.3f} ± {interval:.3f}")

    # One new task of your own: ten points in, an ordinary Keras model out.
    support_x, support_y, query_x, query_y = tasks.sample(seed=12345)
    adapted = trainer.adapt(support_x, support_y)
    error = adapted.evaluate(query_x, query_y, verbose=0)
    print(f"One sine wave: {error:.3f} after {INNER_STEPS} step on its ten points.")
    if quick:
        print("With --quick these numbers mean nothing: they show that it runs.")


if __name__ == "__main__":
    main()
