import keras_tuner
import pytest

from keras_meta.tuner.space_config import merged_space, plain_space


def entry(class_name="Int", **config):
    return {"class_name": class_name, "config": {"name": "a", **config}}


def test_old_forms_are_written_as_todays():
    condition = {"class_name": "keras_tuner>Parent", "config": {"name": "b"}}
    old = [
        entry("keras_tuner>Int", sampling=None, step=2, conditions=[condition]),
        entry("Int", sampling="log", step=1),
        entry("Float", sampling="reverse_log", step=None),
        entry("Int", sampling="linear", step=1),
        entry("Fixed", value=(1, 2)),
    ]
    parent = {"class_name": "Parent", "config": {"name": "b"}}
    assert plain_space(old) == [
        entry(sampling="linear", step=2, conditions=[parent]),
        entry(sampling="log", step=None, conditions=[]),
        entry("Float", sampling="reverse_log", step=None, conditions=[]),
        entry(sampling="linear", step=1, conditions=[]),
        entry("Fixed", value=[1, 2], conditions=[]),
    ]
    assert old[0]["config"]["conditions"] == [condition]


def test_all_kinds_of_today_are_left_as_they_are():
    hp = keras_tuner.HyperParameters()
    hp.Choice("choice", [1, 2, 4])
    hp.Boolean("flag", parent_name="choice", parent_values=[1, 2])
    hp.Float("rate", 0.1, 1.0, step=0.1)
    hp.Int("units", 2, 64, step=2, sampling="log")
    hp.Fixed("fixed", "text")
    assert plain_space(hp) == hp.get_config()["space"]


def test_parameters_are_joined_by_name_and_conditions():
    when = [{"class_name": "Parent", "config": {"name": "b", "values": [1]}}]
    a, a_when = entry(step=1, conditions=[]), entry(step=1, conditions=when)
    wider, other = entry(step=9, conditions=[]), entry("Boolean", conditions=[when[0]])
    assert merged_space([a, a_when], [wider]) == [wider, a_when]
    assert merged_space([a], [other, a]) == [a, other]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (None, "must be a `keras_tuner.HyperParameters` or the list"),
        ({"values": {}}, "or the list of its parameters' configs. Received: None"),
        (["a"], "Each parameter of a search space must be a dict. *Received: 'a'"),
        ([{"class_name": "Int", "config": {}}], "with a `config` that has a `name`"),
        ([entry(min_value=float("nan"))], "plain, finite JSON values"),
        ([entry(values=[object()])], "plain, finite JSON values"),
        ([entry(conditions=[3])], r"name='a', conditions=\[3\]"),
    ],
)
def test_what_is_no_space_is_named(space, message):
    with pytest.raises(ValueError, match=message.replace("dict. *", "dict.*")):
        plain_space(space)
