import json

import numpy as np
import pytest
import tensorflow as tf

from keras_meta.tasks.task import Episode, TaskDistribution, check_count


class CountedTraces(TaskDistribution):
    """Two inputs, one target; counts how often `sample` is called."""

    calls = 0

    def sample(self, seed):
        self.calls += 1
        numbers = tf.random.stateless_uniform((6, 2), seed)
        x = {"left": numbers, "right": tf.cast(numbers[:, 0] > 0.5, tf.int32)}
        y = numbers[:, :1]
        cut = tf.nest.map_structure
        return Episode(cut(lambda t: t[:4], x), y[:4], cut(lambda t: t[4:], x), y[4:])


def test_element_spec_holds_shapes_and_dtypes_and_is_traced_once():
    tasks = CountedTraces()
    spec = tasks.element_spec
    assert isinstance(spec, Episode)
    assert spec.support_x["left"] == tf.TensorSpec((4, 2), tf.float32)
    assert spec.query_x["right"] == tf.TensorSpec((2,), tf.int32)
    assert spec.query_y == tf.TensorSpec((2, 1), tf.float32)
    assert tasks.element_spec is spec
    assert tasks.calls == 1


def test_element_spec_asked_for_in_a_graph_leaves_nothing_in_it():
    class Stored(TaskDistribution):
        data = tf.zeros((200, 4, 1))

        def sample(self, seed):
            x = self.data[seed[1]]
            return Episode(x, x, x, x)

    tasks = Stored()

    @tf.function
    def ask(x):
        return x + float(tasks.element_spec.support_y.shape[0])

    graph = ask.get_concrete_function(tf.TensorSpec((), tf.float32)).graph
    assert not graph.captures
    assert ask(tf.constant(1.0)) == 5.0


def test_describe_names_the_class_and_the_shapes():
    facts = CountedTraces().describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["class_name"] == "CountedTraces"
    assert facts["episode"]["support_y"] == {"shape": [4, 1], "dtype": "float32"}
    assert facts["episode"]["support_x"] == [
        {"shape": [4, 2], "dtype": "float32"},
        {"shape": [4], "dtype": "int32"},
    ]


def test_a_class_without_sample_says_so():
    class Empty(TaskDistribution):
        pass

    with pytest.raises(
        NotImplementedError, match=r"Class Empty must implement `sample"
    ):
        Empty().sample(0)


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "3", None])
def test_check_count_refuses_what_is_no_count(value):
    with pytest.raises(ValueError, match="`shots` must be an integer >= 1. Received: "):
        check_count("shots", value)


def test_check_count_takes_numpy_integers():
    assert type(check_count("shots", np.int64(3))) is int


def test_a_count_that_is_an_array_is_not_printed_whole():
    with pytest.raises(ValueError) as caught:
        check_count("shots", np.zeros(900))
    assert "Received: shots=array(" in str(caught.value)
    assert len(str(caught.value)) < 120
