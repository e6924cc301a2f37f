"""What the examples of personalisation share: one network, adapted in many ways.

Every method is judged on the same tasks: it starts from its own weights, takes steps
of its own optimizer on a task's support set, and is scored on the query set.
"""

import keras
import numpy as np
import tensorflow as tf

import keras_meta


def meta_trained(model, start, rate, tasks, loss, inner_steps, meta_steps):
    """Meta-trains MAML and Meta-SGD, each from the same weights.

    Args:
        model: built `keras.Model`; its weights are overwritten.
        start: list of arrays, the weights to start from.
        rate: float > 0, MAML's inner rate, and the mean of Meta-SGD's at the start.
        tasks: `TaskDistribution`.
        loss: Keras loss of the tasks.
        inner_steps: int >= 1.
        meta_steps: int >= 1.

    Returns:
        Dict from "MAML" and "Meta-SGD" to the learned weights and optimizer.
    """
    learned = {}
    meta_sgd = keras_meta.MetaSGD(alpha_init=(0.5 * rate, 1.5 * rate), seed=0)
    for name, inner in (("MAML", keras_meta.SGD(rate)), ("Meta-SGD", meta_sgd)):
        set_weights(model, start)
        trainer = keras_meta.MetaTrainer(model, inner, inner_steps, seed=0)
        outer = keras.optimizers.schedules.CosineDecay(1e-3, meta_steps)
        # Plain graphs: so few meta-steps do not pay for what XLA takes to compile.
        trainer.compile(keras.optimizers.Adam(outer), loss, jit_compile=False)
        trainer.fit(tasks, meta_batch_size=8, steps_per_epoch=meta_steps, verbose=0)
        learned[name] = get_weights(model), trainer.learned_optimizer()
    return learned


def all_scores(model, learned, pooled, fresh, episodes, loss, score, steps, rates):
    """Adapts by every method; returns the scores that `compare` takes.

    Args:
        learned: what `meta_trained` returned.
        pooled: list of arrays, the pooled model's weights.
        fresh: list of lists of arrays, new networks, as many as a divisor of the
            number of test tasks.
        episodes: list of the validation tasks and list of the test tasks.
        rates: floats > 0, Adam's learning rates.
        model, loss, score, steps: see `adapted_scores`.
    """
    valid, test = episodes
    scores = {"validation": {}, "meta-learned": {}}
    for name, (start, optimizer) in learned.items():
        run = adapted_scores(model, optimizer, loss, score, steps)
        scores["validation"][name] = run(valid, [start])
        scores["meta-learned"][name] = run(test, [start])
    run = adapted_scores(model, keras.optimizers.Adam(), loss, score, steps)
    for method, starts in (("pooled, fine-tuned", [pooled]), ("from scratch", fresh)):
        scores[method] = {f"Adam {rate:g}": run(test, starts, rate) for rate in rates}
    return scores


def get_weights(model):
    """Returns copies of the trainable variables, a list of arrays."""
    return [np.array(v.value) for v in model.trainable_variables]


def set_weights(model, weights):
    """Assigns what `get_weights` returned."""
    for variable, value in zip(model.trainable_variables, weights, strict=True):
        variable.assign(value)


def adapted_scores(model, optimizer, loss, score, steps):
    """Returns a function that adapts the model to tasks and scores it on the way.

    Args:
        model: built `keras.Model`; its weights are overwritten.
        optimizer: Keras optimizer, or one that meta-training learned.
        loss: Keras loss of the support set.
        score: function from a query set's targets and predictions to a scalar.
        steps: increasing ints >= 0, the numbers of steps after which to score.

    Returns:
        Function of `episodes`, `starts` (lists of arrays: one list for each episode,
        or one for all) and `rate` (float, which multiplies learned rates; default 1)
        that returns float32 `(len(episodes), len(steps))`.
    """
    variables = model.trainable_variables
    optimizer.build(variables)
    fresh = [np.array(v.value) for v in optimizer.variables]

    @tf.function(reduce_retracing=True)  # Tasks may have sets of other sizes.
    def one_episode(start, episode, rate):
        set_weights(model, start)
        for variable, value in zip(optimizer.variables, fresh, strict=True):
            variable.assign(value)
        optimizer.learning_rate.assign(rate)
        row = []
        for count in np.diff(steps, prepend=0):
            for _ in tf.range(count):
                with tf.GradientTape() as tape:
                    support_loss = loss(episode.support_y, model(episode.support_x))
                gradients = tape.gradient(support_loss, [v.value for v in variables])
                optimizer.apply(gradients, variables)
            row.append(score(episode.query_y, model(episode.query_x)))
        return tf.stack(row)

    def all_episodes(episodes, starts, rate=1.0):
        starts = list(starts) * (len(episodes) // len(starts))
        pairs = zip(starts, episodes, strict=True)
        return np.stack([one_episode(s, e, tf.constant(rate)) for s, e in pairs])

    return all_episodes
