"""Intents of a new domain, such as travel or small talk, from five utterances each.

Needs `clinc150.json.gz` (CLINC150, Larson et al. 2019, arXiv:1909.02027) in the folder
that the environment variable KERAS_META_DATA names. A task has the 15 intents of a
domain: five training utterances each to adapt on, all test utterances to classify.
Two domains at a time are new, until six have been; one more is for validation only.
Pooled: trained by plain Keras on all training intents, with a new head of zeros. Its
weights know the training intents and leave meta-learning nothing to learn, so that
starts from a fresh network. Intervals are over draws of utterances, not over domains.
It beats Adam's best; SGD of rate 2 from scratch, not in the table, does as well.
"""

import gzip
import json

import keras
import numpy as np
import tensorflow as tf
from personalisation import all_scores, get_weights, meta_trained
from personalisation_table import compare, data_file, finish, parsed_arguments

import keras_meta

VALIDATION = "credit_cards"
SHOTS = 5
ADAM_RATES = (1e-3, 3e-3, 1e-2, 3e-2)
STEPS = (1, 2, 5, 10, 20, 50, 100)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def trigrams(known, data):
    """Returns the rows of all intents; the vocabulary is that of the known ones."""
    layer = keras.layers.TextVectorization(
        2000, split="character", ngrams=(3,), output_mode="tf_idf"
    )
    layer.adapt([text for intent in known for text in data[intent]])
    rows = {}
    for intent, texts in data.items():
        row = np.array(layer(tf.constant(texts)))[:, 1:]  # Without the unknown ones.
        rows[intent] = 4 * row / np.linalg.norm(row + 1e-9, axis=1, keepdims=True)
    return rows  # float32 (130, 1999): 100 training utterances, 30 for tests


def episode(rows, intents, seed):
    """Returns a task of 15 intents in a random order."""
    draw = np.random.default_rng(seed)
    order = draw.permutation(intents)
    support = [rows[intent][draw.permutation(100)[:SHOTS]] for intent in order]
    query = [rows[intent][100:] for intent in order]
    labels = np.arange(len(order), dtype="int32")
    parts = (np.concatenate(support), labels.repeat(SHOTS))
    parts += (np.concatenate(query), labels.repeat(30))
    return keras_meta.tasks.Episode(*map(tf.constant, parts))


def network(classes=15, dropout=0.0):
    head = keras.layers.Dense(classes, kernel_initializer="zeros")
    body = [keras.layers.Dense(64, "relu"), keras.layers.Dropout(dropout)]
    return keras.Sequential([keras.Input((1999,)), *body, head])


def accuracy(y, guess):
    hit = tf.argmax(guess, axis=-1, output_type=y.dtype) == y
    return 100 * tf.reduce_mean(tf.cast(hit, tf.float32))


def nearest_centroid(task):
    """Returns the accuracy of the nearest class mean, by cosine, without training."""
    means = np.reshape(task.support_x, (15, SHOTS, -1)).mean(axis=1)
    return accuracy(task.query_y, task.query_x @ keras.utils.normalize(means).T)


def one_fold(new, domains, data, size):
    """Trains on the other domains; returns all scores on the new ones' tasks."""
    num_tasks, epochs, meta_steps = size
    kept_back = {intent for domain in (*new, VALIDATION) for intent in domains[domain]}
    known = [intent for intent in data if intent not in kept_back]
    rows = trigrams(known, data)
    x = np.stack([rows[intent][:100] for intent in known])  # (60, 100, 1999)
    teacher, model = network(len(known), 0.3), network()
    teacher.compile(keras.optimizers.Adam(2e-3), LOSS)
    y = np.arange(len(known)).repeat(100)
    teacher.fit(x.reshape(len(y), -1), y, batch_size=64, epochs=epochs, verbose=0)
    pooled = get_weights(teacher)[:2] + get_weights(model)[2:]
    fresh = [get_weights(network()) for _ in range(num_tasks)]
    tasks = keras_meta.tasks.FewShotClassification(x, None, 15, SHOTS, queries=10)
    learned = meta_trained(model, fresh[0], 1.0, tasks, LOSS, 5, meta_steps)
    seeds = range(num_tasks)
    valid = [episode(rows, domains[VALIDATION], seed) for seed in seeds]
    test = [episode(rows, domains[domain], seed) for domain in new for seed in seeds]
    scores = all_scores(
        model, learned, pooled, fresh, (valid, test), LOSS, accuracy, STEPS, ADAM_RATES
    )
    centroids = np.array([nearest_centroid(task) for task in test])
    scores["references"] = {"nearest centroid of trigrams": centroids}
    return scores


def main():
    arguments = parsed_arguments(__doc__.splitlines()[0])
    size = (2, 1, 2) if arguments.quick else (8, 6, 60)
    with gzip.open(data_file("clinc150.json.gz"), "rt", encoding="utf-8") as file:
        clinc = json.load(file)
    domains = clinc["domains"]
    data = {intent: [] for intents in domains.values() for intent in intents}
    for text, intent in clinc["train"] + clinc["test"]:
        data[intent].append(text)
    keras.utils.set_random_seed(0)
    others = [domain for domain in domains if domain != VALIDATION]
    folds = [others[i : i + 2] for i in range(0, 2 if arguments.quick else 6, 2)]
    parts = [one_fold(new, domains, data, size) for new in folds]
    scores = keras.tree.map_structure(lambda *rows: np.concatenate(rows), *parts)
    groups = [domain for new in folds for domain in new for _ in range(size[0])]
    title, references = "Accuracy in % on new domains", scores.pop("references")
    table = compare(title, scores, references, STEPS, max, groups)
    finish(arguments, [table])


if __name__ == "__main__":
    main()
