"""Activity recognition for a new user, from five windows of each activity.

A smart watch tells 18 activities apart by 52 features of ten seconds of its
accelerometer (WISDM, Weiss 2019). A new user gives the five earliest windows of each
activity; the later ones test. Every user is once a new user, in five folds of seven;
four of the other users validate, the rest train. All methods have one network:

- meta-learned: MAML or Meta-SGD, from the pooled weights on;
- pooled: plain Keras `fit` on all windows of the training users; as it is, and
  fine-tuned by Adam;
- from scratch: random weights, trained by Adam on the new user alone.

Adam has its best rate and number of steps, chosen on the test users themselves; the
meta-learner has its own chosen on the validation users.

It reads wisdm_watch_features.npz from the folder that KERAS_META_DATA names.
"""

import keras
import numpy as np
from personalisation import all_scores, get_weights, meta_trained, set_weights
from personalisation_table import compare, finish, parsed_arguments
from wisdm_users import TrainingUsers, load_windows, standardized, user_episode

NUM_FOLDS = 5
NUM_VALIDATION = 4
STEPS = (1, 2, 3, 5, 10, 20, 40)
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
INNER_RATE = 0.2
INNER_STEPS = 5
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def accuracy(targets, predicted):
    """Returns the share of right answers, a float32 scalar."""
    right = keras.ops.argmax(predicted, axis=-1) == targets
    return keras.ops.mean(keras.ops.cast(right, "float32"))


def network():
    """Returns the network of all methods: 52-128-128-18, with dropout."""
    layers = [keras.Input((52,))]
    for _ in range(2):
        layers += [keras.layers.Dense(128, "relu"), keras.layers.Dropout(0.4)]
    return keras.Sequential([*layers, keras.layers.Dense(18)])


def pooled_weights(x, activity, epochs):
    """Returns weights trained on all windows at once, the rate falling to zero."""
    model = network()
    steps = epochs * -(-len(x) // 128)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-3), LOSS)
    model.fit(x, activity, batch_size=128, epochs=epochs, verbose=0)
    return get_weights(model)


def run_fold(windows, new, quick):
    """Returns the scores of `compare` for these new users, and the pooled model's."""
    keras.utils.set_random_seed(0)
    x, user, activity, turn = windows
    others = np.setdiff1d(np.unique(user), new)
    validation, training = np.split(others, [NUM_VALIDATION])
    known = np.isin(user, training)
    windows = (standardized(x, known), user, activity, turn)
    x = windows[0]
    pooled = pooled_weights(x[known], activity[known], 1 if quick else 30)
    tasks = TrainingUsers(x[known], user[known], activity[known])
    model, fresh = network(), get_weights(network())
    learned = meta_trained(
        model, pooled, INNER_RATE, tasks, LOSS, INNER_STEPS, 2 if quick else 300
    )
    episodes = [
        [user_episode(windows, who) for who in part] for part in (validation, new)
    ]
    scores = all_scores(
        model,
        learned,
        pooled,
        [fresh],
        episodes,
        LOSS,
        accuracy,
        STEPS[:2] if quick else STEPS,
        RATES[:2] if quick else RATES,
    )
    set_weights(model, pooled)
    unadapted = [accuracy(e.query_y, model(e.query_x)) for e in episodes[1]]
    return scores, np.array(unadapted)


def main():
    arguments = parsed_arguments(__doc__.splitlines()[0])
    windows = load_windows()
    folds = np.random.default_rng(0).permutation(35).reshape(NUM_FOLDS, -1)
    if arguments.quick:
        folds = folds[:2, :2]
    results = [run_fold(windows, new, arguments.quick) for new in folds]
    scores = {
        method: {
            name: np.concatenate([fold[method][name] for fold, _ in results])
            for name in table
        }
        for method, table in results[0][0].items()
    }
    references = {"pooled, not adapted": np.concatenate([r for _, r in results])}
    steps = STEPS[:2] if arguments.quick else STEPS
    table = compare("Accuracy, new users", scores, references, steps, max)
    finish(arguments, [table])


if __name__ == "__main__":
    main()
