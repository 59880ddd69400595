"""Config as absl flags and as a flagfile."""

import dataclasses
import os
import re
import types
import typing

from absl import flags

from regan_tf.config import Config, UserError, absolute

FILE_NAME = "config.flags"
_COUNT = re.compile(r"# Repeats this run, with (\d+) flags:")
_DEFINE = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


def define(flag_values=flags.FLAGS):
    """Defines one flag for each field of Config; on the global flags they are shown by the main
    command's --help.
    """
    for field in dataclasses.fields(Config):
        choices, doc = field.metadata["choices"], field.metadata["doc"]
        if choices:
            flags.DEFINE_enum(field.name, field.default, choices, doc, flag_values=flag_values)
        else:
            _DEFINE[_value_type(field)](field.name, field.default, doc, flag_values=flag_values)


def _value_type(field):
    hint = typing.get_type_hints(Config)[field.name]
    return next((t for t in typing.get_args(hint) if t is not types.NoneType), hint)


def parsed(flag_values=flags.FLAGS):
    """The Config that parsed flags ask for, resolved. Raises UserError where they do not fit."""
    return resolved(_values(flag_values))


def resolved(values):
    """The resolved Config of a dict of its fields, with what it inherits from the run of
    --start_from. Raises UserError where they do not fit.
    """
    start = values.get("start_from")
    if start and not _goes_on_without(start, values):
        values = values | _inherited(values, read_run(start, "start_from"))
    return Config(**values).resolved()


def _goes_on_without(start, values):
    """Whether a run is there that has taken over everything, from one that is gone."""
    own = values.get("workdir")
    return own and os.path.isfile(_file(own)) and not os.path.isfile(_file(start))


def _inherited(values, source):
    """The fields that a run takes over from its source. Raises UserError if it has others."""
    fields = [f for f in dataclasses.fields(Config) if f.metadata["inherited"]]
    for field in fields:
        given = absolute(field.name, values.get(field.name, field.default))
        there = getattr(source, field.name)
        if given not in (field.default, there):
            raise UserError(
                f"--{field.name}={given} contradicts --start_from={values['start_from']}, whose "
                f"generator has {to_flag(source, field.name)}"
            )
    return {field.name: getattr(source, field.name) for field in fields}


def _values(flag_values):
    return {field.name: flag_values[field.name].value for field in dataclasses.fields(Config)}


def _file(workdir):
    return os.path.join(workdir, FILE_NAME)


def to_flag(config, name):
    """One field as a flag, as one would type it."""
    value = getattr(config, name)
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    return f"--{name}={value}"


def to_text(config):
    """A flagfile that repeats the run in a directory of its own."""
    names = [name for name in recorded(config) if getattr(config, name) is not None]
    lines = [
        f"# Repeats this run, with {len(names)} flags: python -m regan_tf.main "
        "--flagfile=<this file> --workdir=<new directory>",
        *(to_flag(config, name) for name in names),
    ]
    return "\n".join(lines) + "\n"


def recorded(config):
    """Names of the fields that say what the run is, not where."""
    return [f.name for f in dataclasses.fields(config) if not f.metadata["local"]]


def export_flags(config):
    """The flags that say where the export goes, where they are not the defaults: they are no part
    of the flagfile.
    """
    local = {
        f.name: f.default
        for f in dataclasses.fields(config)
        if f.metadata["local"] and f.name != "workdir"
    }
    default = dataclasses.replace(config, **local).resolved()
    return [
        to_flag(config, name) for name in local if getattr(config, name) != getattr(default, name)
    ]


def read_run(workdir, flag="workdir"):
    """The Config of the run in a directory. Raises UserError, naming the flag, if there is none, or
    it is bad.
    """
    path = _file(workdir)
    flag_values = flags.FlagValues()
    define(flag_values)
    if not os.path.exists(path):
        raise UserError(f"--{flag}={workdir} holds no run: there is no {path}")
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        flag_values(["", *_lines(path, text)])
        return Config(**_values(flag_values)).resolved()
    except (OSError, ValueError, flags.Error, UserError) as error:
        raise UserError(f"--{flag}={workdir} holds no run that can be read: {error}") from None


def _lines(path, text):
    """The flags in a run's flagfile. Raises UserError if some are lost."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("--")]
    if not (lines and text.endswith("\n")):
        raise UserError(f"{path} is cut short")
    told = _COUNT.match(text)  # earlier versions did not tell how many there are
    if told and int(told[1]) != len(lines):
        raise UserError(f"{path} has {len(lines)} flags where its first line tells of {told[1]}")
    return lines


def require_same(config, earlier, workdir):
    """Raises UserError unless the run in the directory, `earlier`, is what `config` asks for, or
    may be extended to it.
    """
    not_asked = {
        f.name
        for f in dataclasses.fields(config)
        if f.metadata["optional"] and getattr(config, f.name) == f.default
    }
    compared = [
        f.name
        for f in dataclasses.fields(config)
        if not (f.metadata["local"] or f.metadata["extends"])
    ]
    compared = [name for name in compared if name not in not_asked]
    differing = [name for name in compared if getattr(config, name) != getattr(earlier, name)]
    if differing:
        pairs = ", ".join(
            f"{to_flag(config, name)} (there: {to_flag(earlier, name)})" for name in differing
        )
        message = f"--workdir={workdir} holds a run of another configuration: {pairs}"
        raise UserError(
            f"{message}; give another --workdir, or those values, which "
            f"--flagfile={os.path.join(workdir, FILE_NAME)} has"
        )
