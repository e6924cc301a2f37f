"""The learners of `omniglot.py`: networks, methods and how long each is trained."""

import dataclasses

import keras

import keras_meta
from keras_meta.presets import Preset

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
DENSE_WIDTHS = (256, 128, 64, 64)  # Finn et al. 2017, section 5.2
GRADIENT_METHODS = ("Meta-SGD", "MAML", "FOMAML", "ANIL", "Reptile", "MetaLSTM")
METRICS = {"matching": "cosine", "prototypical": "euclidean"}


@dataclasses.dataclass(frozen=True)
class Run:
    """One learner, and how it is meta-trained.

    Attributes:
        method: a name of `GRADIENT_METHODS` or `METRICS`.
        net: `"conv"` or `"dense"`.
        ways: int, in training; gradient-based learners are tested on as many.
        statistics: what batch normalisation uses in tests, `"task"` (transductive)
            or `"running"`.
        iterations: int, meta-steps.
        meta_batch_size: int, tasks in a meta-step.
        shots, queries: int, support and query examples of a class in training.
        rate: float, the outer optimizer's first learning rate, which falls to zero:
            Adam's along a half cosine, Reptile's SGD's in a straight line.
        inner_rate: float, of learners whose rates are not learned.
        inner_steps, evaluation_steps: int, steps in training and in tests.
        inner_batch_size: int or None.
        moved_classes: float in [0, 1], share of the training classes that are moved
            as a whole, see `MovedImages`.
        starts_from: str or None, the method whose run on the same net and tasks gives
            the initialisation that training starts from, instead of an encoder alone.
        meta_gradient: str, as `MetaTrainer`'s. MetaLSTM's paper has "first_order"; a
            learned initialisation that it starts from is lost with it at first.
    """

    method: str
    net: str = "conv"
    ways: int = 5
    statistics: str = "task"
    iterations: int = 4_000
    meta_batch_size: int = 4
    shots: int = 1
    queries: int = 5
    rate: float = 1e-3
    inner_rate: float = 0.4
    inner_steps: int = 1
    evaluation_steps: int = 3
    inner_batch_size: int | None = None
    moved_classes: float = 0.5
    starts_from: str | None = None
    meta_gradient: str = "exact"

    @property
    def name(self):
        """str, of the run's files."""
        task = f"{self.ways}way" + (f"{self.shots}shot" if self.shots > 1 else "")
        parts = (self.method, self.net, task, self.statistics)
        return "_".join(parts).lower().replace("-", "_")

    @property
    def is_metric(self):
        """bool, whether it compares instead of taking steps."""
        return self.method in METRICS

    @property
    def start(self):
        """str or None, the name of the run that it starts from."""
        if self.starts_from is None:
            return None
        return dataclasses.replace(self, method=self.starts_from).name


def encoder(net):
    """Returns the network without its head, with new weights.

    `"conv"`: that of Vinyals et al. 2016, section 4.1.1, four times 3x3 convolution
    of 64 filters, batch normalisation, ReLU and 2x2 max pooling. `"dense"`: that of
    Finn et al. 2017, section 5.2, four layers with batch normalisation and ReLU.
    """
    layers = keras.layers
    parts = [keras.Input((28, 28, 1))]
    if net == "dense":
        parts.append(layers.Flatten())
        for width in DENSE_WIDTHS:
            parts += [layers.Dense(width), layers.BatchNormalization(), layers.ReLU()]
        return keras.Sequential(parts, name="encoder")
    for _ in range(4):
        parts += [
            layers.Conv2D(64, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
        ]
    parts.append(layers.Flatten())
    return keras.Sequential(parts, name="encoder")


def learner(run, start, seed=0):
    """Returns the run's compiled learner.

    Args:
        run: `Run`.
        start: what it starts from: list of arrays, the encoder's weights; the
            `Preset` of another run; or None.
        seed: int.
    """
    keras.utils.set_random_seed(seed)
    network = encoder(run.net)
    if isinstance(start, list):
        network.set_weights(start)
    schedules = keras.optimizers.schedules
    outer = keras.optimizers.Adam(schedules.CosineDecay(run.rate, run.iterations))
    if run.method == "Reptile":  # The paper's: its step size falls to zero in a line.
        outer = keras.optimizers.SGD(
            schedules.PolynomialDecay(run.rate, run.iterations, 0.0)
        )
    if run.is_metric:
        made = keras_meta.learners.MatchingNetwork(
            network,
            metric=METRICS[run.method],
            batch_statistics=run.statistics,
            seed=seed,
        )
        made.compile(outer, metrics=["accuracy"])
        return made
    head = keras.layers.Dense(run.ways, kernel_initializer="zeros")
    inner = keras_meta.SGD(run.inner_rate)
    if run.method == "Meta-SGD":
        inner = keras_meta.MetaSGD(alpha_init=run.inner_rate)
    elif run.method == "MetaLSTM":
        inner = keras_meta.MetaLSTM(initial_rate=run.inner_rate, seed=seed)
    model = keras.Sequential([network, head])
    if isinstance(start, Preset):
        start.initialize(model)
    made = keras_meta.MetaTrainer(
        model,
        inner,
        inner_steps=run.inner_steps,
        adapt="head" if run.method == "ANIL" else "all",
        meta_gradient=run.meta_gradient,
        batch_statistics=run.statistics,
        inner_batch_size=run.inner_batch_size,
        evaluation_steps=run.evaluation_steps,
        seed=seed,
    )
    made.compile(outer, LOSS, metrics=["accuracy"])
    return made


def _named(methods, **changes):
    return [Run(method, **changes) for method in methods]


RUNS = [
    Run("Meta-SGD", iterations=30_000),
    Run("MAML", iterations=20_000),
    Run("FOMAML", meta_gradient="first_order"),
    Run("ANIL"),
    Run(
        "Reptile",
        iterations=5_000,
        rate=1.0,
        shots=5,
        queries=5,
        inner_rate=0.1,
        inner_steps=5,
        inner_batch_size=10,
        evaluation_steps=10,
        meta_gradient="reptile",
    ),
    Run("Meta-SGD", shots=5, iterations=10_000),
    Run("Meta-SGD", ways=20, meta_batch_size=1, iterations=12_000),
    Run("MAML", net="dense", iterations=60_000, meta_batch_size=16),
    Run("MetaLSTM", net="dense", iterations=2_400, rate=3e-4, starts_from="MAML"),
    *_named(METRICS, ways=20, meta_batch_size=1),
    *_named(METRICS, ways=20, meta_batch_size=1, statistics="running"),
    *_named(("Meta-SGD", "MAML"), statistics="running"),
]
