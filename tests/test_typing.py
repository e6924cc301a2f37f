"""Every public name has annotations that a type checker can follow."""

import ast
import functools
import importlib
import inspect
import pathlib
import sys
import typing

import keras_meta

PACKAGES = (
    "keras_meta",
    "keras_meta.learners",
    "keras_meta.optimizers",
    "keras_meta.presets",
    "keras_meta.tasks",
    "keras_meta.testing",
    "keras_meta.training",
    "keras_meta.tuner",
)
SPECIAL = ("__init__", "__call__", "__enter__", "__exit__", "__len__", "__bool__")


def public_objects():
    """Returns classes and functions by their names, as users import them."""
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            if not inspect.ismodule(value):
                found[f"{package}.{name}"] = value
    return found


def functions_of(value):
    """Returns the functions of this project that a user of `value` calls, by name."""
    if not inspect.isclass(value):
        return {value.__name__: value}
    found = {}
    for owner in value.__mro__:
        if not owner.__module__.startswith("keras_meta"):
            continue
        for name, member in vars(owner).items():
            if name.startswith("_") and name not in SPECIAL:
                continue
            if isinstance(member, property):
                member = member.fget
            elif isinstance(member, functools.cached_property):
                member = member.func
            elif isinstance(member, (classmethod, staticmethod)):
                member = member.__func__
            is_own = getattr(member, "__module__", "").startswith("keras_meta")
            if inspect.isfunction(member) and is_own:
                found[f"{owner.__name__}.{name}"] = member
    return found


@functools.cache
def names_for_type_checkers(module_name):
    """Returns a module's names, with those that only type checkers import."""
    module = sys.modules[module_name]
    names = dict(vars(module))
    tree = ast.parse(pathlib.Path(module.__file__).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            block = ast.Module(node.body, type_ignores=[])
            exec(compile(block, module.__file__, "exec"), names)
    return names


def test_every_public_function_is_annotated_and_every_annotation_resolves():
    missing, checked = [], set()
    for name, value in public_objects().items():
        for path, function in functions_of(value).items():
            plain = inspect.unwrap(function)
            if plain in checked:
                continue
            checked.add(plain)
            signature = inspect.signature(plain)
            for parameter in signature.parameters.values():
                annotated = parameter.annotation is not parameter.empty
                if not annotated and parameter.name not in ("self", "cls"):
                    missing.append(f"{name}: {path}({parameter.name})")
            if signature.return_annotation is signature.empty:
                missing.append(f"{name}: {path} returns")
            hints = typing.get_type_hints(
                plain, globalns=names_for_type_checkers(plain.__module__)
            )
            for parameter in signature.parameters.values():
                if parameter.default is None:
                    allowed = typing.get_args(hints[parameter.name])
                    assert (
                        hints[parameter.name] in (typing.Any, type(None))
                        or typing.Any in allowed
                        or type(None) in allowed
                    ), f"{name}: {path}({parameter.name}) has the default None"
    assert not missing
    # All the methods of some fifty classes: it did look.
    assert len(checked) > 200


def test_lazy_names_are_known_to_type_checkers():
    for package in PACKAGES:
        module = importlib.import_module(package)
        known = names_for_type_checkers(package)
        assert [name for name in module.__all__ if name not in known] == []


def test_the_package_says_that_it_is_typed():
    assert pathlib.Path(keras_meta.__file__).with_name("py.typed").is_file()
