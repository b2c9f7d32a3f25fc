"""A type's inputs by the provider's SDK: their names, types, and which are required.

The real plugins check inputs against their schema, from which the SDK's classes are generated: read back from them.
"""

import collections.abc
import enum
import inspect
import json
import re
import types
import typing
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pulumi
from pulumi._types import input_type_py_to_pulumi_names, input_type_types, is_input_type
from pulumi.runtime.rpc import UNKNOWN

SDKS = {"aws": "pulumi_aws", "azure-native": "pulumi_azure_native", "gcp": "pulumi_gcp"}
_MARK = "4dabf18193072939515e22adb298388d"
"""The key by which the engine marks assets, archives and secrets."""


class UnknownType(Exception):
    """The SDK has no such type."""


def faults(token: str, inputs: typing.Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the errors in a resource's inputs: (property, reason).

    Raises: UnknownType: there is no such type in the SDK.
    """
    return list(_of_class(arguments_of(token), inputs, ""))


@cache
def arguments_of(token: str) -> type:
    """Return the class of a type's inputs, such as BucketArgs. Raises: UnknownType."""
    package = token.partition(":")[0]
    place = _classes(package).get(token)
    if place is None:
        raise UnknownType(f"{token} is not a type of {SDKS[package]}")
    module, name = place
    found = import_module(module)
    # The name of the inputs' class if another class has the first one.
    return typing.cast(type, getattr(found, f"{name}InitArgs", None) or getattr(found, f"{name}Args"))


@cache
def _classes(package: str) -> dict[str, tuple[str, str]]:
    """Return token -> (module, class), from the table that an SDK registers."""
    sdk = import_module(SDKS[package])
    text = Path(str(sdk.__file__)).read_text()
    found = re.search(r'resource_modules="""(.*?)"""', text, re.DOTALL)
    assert found is not None
    return {token: (each["fqn"], name) for each in json.loads(found[1]) for token, name in each["classes"].items()}


def _of_class(wanted: type, given: typing.Mapping[str, Any], place: str) -> typing.Iterator[tuple[str, str]]:
    names = input_type_py_to_pulumi_names(wanted)
    kinds = input_type_types(wanted)
    parameters = inspect.signature(wanted.__init__).parameters  # type: ignore[misc]
    for python_name, name in names.items():
        parameter = parameters.get(python_name)
        if parameter is not None and parameter.default is inspect.Parameter.empty and given.get(name) is None:
            yield place + name, "is missing"
    for name, value in given.items():
        if name == "__defaults":
            continue
        if name not in kinds:
            yield place + name, f"is not a property; properties are {', '.join(sorted(kinds))}"
        elif value is not None and not _fits(value, kinds[name]):
            yield from _told(value, kinds[name], place + name)


def _told(value: Any, kind: Any, place: str) -> typing.Iterator[tuple[str, str]]:
    """Yield the errors, as deep inside the value as possible."""
    for option in _options(kind):
        if is_input_type(option) and isinstance(value, dict):
            yield from _of_class(option, value, place + ".")
            return
        origin, inner = typing.get_origin(option), typing.get_args(option)
        if origin in (collections.abc.Sequence, list) and isinstance(value, list):
            for number, each in enumerate(value):
                if not _fits(each, inner[0]):
                    yield from _told(each, inner[0], f"{place}[{number}]")
            return
    yield place, f"is {type(value).__name__} {str(value)[:60]!r}, which is not allowed"


def _fits(value: Any, kind: Any) -> bool:
    if value == UNKNOWN or value is None:
        return True
    return any(_fits_one(value, option) for option in _options(kind))


def _fits_one(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    origin = typing.get_origin(kind)
    if origin in (collections.abc.Sequence, list):
        return isinstance(value, list) and all(_fits(each, typing.get_args(kind)[0]) for each in value)
    if origin in (collections.abc.Mapping, dict):
        return isinstance(value, dict) and all(_fits(each, typing.get_args(kind)[1]) for each in value.values())
    if not isinstance(kind, type):
        return False
    if is_input_type(kind):
        return isinstance(value, dict) and not any(True for _ in _of_class(kind, value, ""))
    if issubclass(kind, enum.Enum):
        return value in [each.value for each in kind]
    if issubclass(kind, pulumi.Asset | pulumi.Archive):
        return isinstance(value, dict) and _MARK in value
    if kind is bool:
        return isinstance(value, bool)
    if kind is int:
        return isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is str:
        return isinstance(value, str)
    return isinstance(value, dict)


def _options(kind: Any) -> typing.Iterator[Any]:
    """Yield the types that a type allows, without the wrappers of outputs.

    An enumeration beside `str` lists the values known when the SDK was generated: any text passes, as in the plugin.
    """
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        for each in typing.get_args(kind):
            yield from _options(each)
    elif origin in (collections.abc.Awaitable, pulumi.Output) or kind is type(None):
        return
    else:
        yield kind
