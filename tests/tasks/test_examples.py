"""Runs the examples in the docstrings, as a reader would."""

import importlib
import inspect
import re
import textwrap

import pytest

MODULES = [
    "counter_random",
    "dataset_episodes",
    "few_shot",
    "few_shot_regression",
    "group_tasks",
    "row_table",
    "sinusoid",
    "task",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run_and_print_what_they_say(name, capsys):
    module = importlib.import_module(f"keras_meta.tasks.{name}")
    blocks = re.findall(r"```python\n(.*?)```", inspect.getsource(module), re.DOTALL)
    assert blocks
    for block in blocks:
        code = "import keras_meta.tasks\n" + textwrap.dedent(block)
        exec(compile(code, name, "exec"), {})
        said = re.findall(r"print\(.*\)  # (.*)", code)
        assert capsys.readouterr().out.splitlines() == said
