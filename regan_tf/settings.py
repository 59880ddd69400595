"""Settings: fields of a dataclass that carry their help and what is allowed.

Flags are made from them, and checks. Nothing here imports TensorFlow: a bad flag is refused at
once.
"""

import dataclasses
import math
import numbers
import operator
import typing
from typing import Any


class SettingError(ValueError):
    """A setting has a value that is not allowed, or that contradicts another.

    Args:
      name, value: the setting.
      reason: what is allowed instead, or what the other one lacks.
      against: the name and the value of the other one, if there is one.
    """

    def __init__(self, name: str, value: Any, reason: str, against: tuple | None = None):
        self._parts = name, value, reason, against
        super().__init__(self._told(lambda name, value: f"{name}={value!r}"))

    def __reduce__(self):
        return type(self), self._parts

    def _told(self, written):
        name, value, reason, against = self._parts
        relation = f"contradicts {written(*against)}, " if against else "is not allowed: "
        return f"{written(name, value)} {relation}{reason}"

    def of_flags(self) -> str:
        """The message, which names arguments, as one that names flags."""
        return self._told(lambda name, value: f"--{name}={value}")


def setting(
    default: Any,
    doc: str,
    *,
    choices: tuple | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    extends: bool = False,
    optional: bool = False,
    local: bool = False,
    inherited: bool = False,
) -> Any:
    """A field of a dataclass.

    Args:
      default, doc: the flag's default and help.
      choices, at_least, at_most, above: what is allowed.
      extends: the flag may differ when a run is resumed.
      optional: where it is not given, any value of a run will do then.
      local: the flag says where or how to run, not what: it is no part of the recorded
        configuration.
      inherited: a run that starts from another's generator has that run's value.
    """
    checks = {"choices": choices, "at_least": at_least, "at_most": at_most, "above": above}
    checks |= {"extends": extends, "optional": optional, "local": local, "inherited": inherited}
    return dataclasses.field(default=default, metadata={"doc": doc, **checks})


def same_as(other: type, name: str, **changed: Any) -> Any:
    """A field as another dataclass has it: default, help and checks, but for what is `changed`."""
    field = next(f for f in dataclasses.fields(other) if f.name == name)
    return setting(**{"default": field.default, **field.metadata, **changed})


def check_name(name: str, value: str) -> None:
    """Raises SettingError unless the value can name a directory in another one; "" can."""
    if value in (".", "..") or "/" in value or "\0" in value:
        raise SettingError(name, value, "it must be one name, without a /")


def check(settings: Any) -> None:
    """Raises SettingError unless every field of a dataclass of settings is allowed by itself: of
    the type that is annotated, finite, and within its bounds. A float may be a scalar tensor.
    """
    for field in dataclasses.fields(settings):
        value, rule = getattr(settings, field.name), field.metadata
        kind, *others = typing.get_args(field.type) or (field.type,)
        if value is None and others:
            continue
        if not _is_of(kind, value):
            reason = f"it must be of type {kind.__name__}"
            raise SettingError(field.name, value, reason + (", or None" if others else ""))
        if rule["choices"] and value not in rule["choices"]:
            raise SettingError(field.name, value, f"it must be one of {', '.join(rule['choices'])}")
        if kind in (int, float) and (number := _known(value)) is not None:
            _check_number(field.name, number, rule)


def _is_of(kind, value):
    if kind in (str, bool):
        return isinstance(value, kind)
    abstract = numbers.Integral if kind is int else numbers.Real
    is_tensor = kind is float and hasattr(value, "shape") and not tuple(value.shape)
    return is_tensor or (isinstance(value, abstract) and not isinstance(value, bool))


def _known(value):
    """A number as Python has it; None for a tensor of a graph, which has no value yet."""
    try:
        return value if isinstance(value, numbers.Integral) else float(value)
    except (TypeError, AttributeError, NotImplementedError):
        return None


def _check_number(name, value, rule):
    if not math.isfinite(value):
        raise SettingError(name, value, "it must be a finite number")
    for bound, holds, words in (
        (rule["at_least"], operator.ge, "at least"),
        (rule["at_most"], operator.le, "at most"),
        (rule["above"], operator.gt, "above"),
    ):
        if bound is not None and not holds(value, bound):
            raise SettingError(name, value, f"it must be {words} {bound}")
