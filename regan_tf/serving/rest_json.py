"""The JSON of TF Serving's REST interface: requests to arrays, and arrays to answers."""

import base64
import binascii
import gzip
import io
import itertools
import json
import zlib
from typing import NamedTuple

import numpy as np
from aiohttp import web

from regan_tf.serving.refusals import invalid

_DEEPEST = 16  # dimensions of an input whose signature does not say how many it has


class Query(NamedTuple):
    """What a body asks for: the signature's name, "" for the default; the inputs as lists by name,
    None where there is one without a name; and whether the answer goes by row.
    """

    signature: str
    inputs: dict
    by_row: bool


def parsed(body, is_gzip, servable):
    """A body to a Query with arrays, which may take long. Raises RejectedError, or
    web.HTTPRequestEntityTooLarge.

    Args:
      body: bytes of JSON.
      is_gzip: whether they are compressed.
      servable: a Servable, whose signatures and limits hold.
    """
    content = _content(_inflated(body, servable.limits.body_bytes) if is_gzip else body)
    signature = content.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid("signature_name must be a string")
    if ("instances" in content) == ("inputs" in content):
        raise invalid("the request must have either instances or inputs")
    spec = servable.spec(signature)
    by_row = "instances" in content
    columns = (
        _columns(content["instances"], spec, servable.limits)
        if by_row
        else _named(content["inputs"], spec)
    )
    # Other keys are passed over, as TF Serving does.
    inputs = {
        name: _array(name, columns[name], spec[name], servable.limits)
        for name in spec
        if name in columns
    }
    return Query(signature, inputs, by_row)


def answer(outputs, by_row):
    """Arrays by name to the JSON text of the answer."""
    lists = {name: _list(name, value) for name, value in outputs.items()}
    return json.dumps({"predictions": _rows(lists)} if by_row else {"outputs": _unnamed(lists)})


def _inflated(body, most):
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            content = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise invalid(f"the body cannot be read: {error}") from None
    if len(content) > most:
        raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=len(content))
    return content


def _content(body):
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"the request is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise invalid("the request must be a JSON object")
    return content


def _columns(instances, spec, limits):
    """Rows to columns: objects that have all keys, or values of the one input that there is."""
    if not isinstance(instances, list) or not instances:
        raise invalid("instances must be a list that is not empty")
    limits.checked_rows(len(instances))
    if not any(isinstance(row, dict) and set(row) != {"b64"} for row in instances):
        return _named(instances, spec)
    for i, row in enumerate(instances):
        if not isinstance(row, dict) or set(row) != set(spec):
            raise invalid(
                f"instance {i} must be an object with exactly the keys {', '.join(sorted(spec))}"
            )
    return {name: [row[name] for row in instances] for name in spec}


def _named(value, spec):
    if isinstance(value, dict) and set(value) != {"b64"}:
        return value
    if len(spec) != 1:
        raise invalid(f"the inputs must be named: {', '.join(sorted(spec))}")
    return {next(iter(spec)): value}


def _array(name, value, spec, limits):
    """Nested lists to an array of a TensorSpec's type and rank. Raises RejectedError."""
    wrong = invalid(f"input {name} is not a list of {spec.dtype.name}")
    if isinstance(value, list):
        limits.checked_rows(len(value))
    shape, flat = [], [value]
    for _ in range(_rank(value) if spec.shape.rank is None else spec.shape.rank):
        if not all(isinstance(part, list) for part in flat) or len(set(map(len, flat))) > 1:
            raise wrong
        shape.append(len(flat[0]) if flat else 0)
        flat = list(itertools.chain.from_iterable(flat))
    return _typed(name, flat, spec.dtype, wrong).reshape(shape)


def _rank(value):
    rank = 0
    while isinstance(value, list) and value and rank < _DEEPEST:
        value, rank = value[0], rank + 1
    return rank


def _typed(name, flat, dtype, wrong):
    numpy_type = dtype.as_numpy_dtype
    if numpy_type is object:
        return np.array([_bytes(name, element) for element in flat], object)
    allowed = {bool} if dtype.is_bool else {int} if dtype.is_integer else {int, float}
    if not set(map(type, flat)) <= allowed:
        raise wrong
    outside = invalid(f"input {name} has a value that is not within {dtype.name}")
    if dtype.is_integer and not all(dtype.min <= element <= dtype.max for element in flat):
        raise outside
    try:
        with np.errstate(over="ignore"):
            return np.array(flat, np.float64 if dtype.is_floating else numpy_type).astype(
                numpy_type
            )
    except OverflowError:
        raise outside from None


def _bytes(name, element):
    if isinstance(element, str):
        return element.encode("utf-8", "replace")
    try:
        return base64.b64decode(element["b64"], validate=True)
    except (TypeError, KeyError, binascii.Error, ValueError):
        raise invalid(f"input {name} is not a list of string") from None


def _list(name, array):
    values = array.tolist()
    return _texts(values, name.endswith("_bytes")) if array.dtype == object else values


def _texts(value, is_bytes):
    """Nested lists of bytes, as JSON has them."""
    if isinstance(value, list):
        return [_texts(part, is_bytes) for part in value]
    if is_bytes:
        return {"b64": base64.b64encode(value).decode()}
    return value.decode("utf-8", "replace")


def _rows(lists):
    if len(lists) == 1:
        return next(iter(lists.values()))
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def _unnamed(lists):
    return next(iter(lists.values())) if len(lists) == 1 else lists
