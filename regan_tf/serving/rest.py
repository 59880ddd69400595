"""TF Serving's REST interface, https://www.tensorflow.org/tfx/serving/api_rest, for one model."""

import asyncio
import base64
import binascii
import json

import grpc
import numpy as np
from absl import logging
from aiohttp import web
from google.protobuf.json_format import MessageToDict
from tensorflow_serving.apis import get_model_metadata_pb2

from regan_tf.serving import page
from regan_tf.serving.servable import RejectedError, invalid

_BODY_SECONDS = 10  # a client that has not sent its request by then is slow, or means harm
_ANSWER_SECONDS = 30  # TF Serving's rest_api_timeout_in_ms
_REQUESTS = 256  # under way at once; each may hold a body

_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.INTERNAL: 500,
}


def application(model, limits):
    """The aiohttp application that answers for a Model."""
    api = _Api(model, limits)
    app = web.Application(
        middlewares=[_errors_as_json, _admission()], client_max_size=limits.body_bytes
    )
    for base in ("/v1/models/{name:[^/:]+}", "/v1/models/{name:[^/:]+}/versions/{version:[^/:]+}"):
        app.router.add_get(base, api.status)
        app.router.add_get(f"{base}/metadata", api.metadata)
        app.router.add_post(f"{base}:predict", api.predict)
    page.add_to(app, model)
    return app


class _Api:
    def __init__(self, model, limits):
        self._model, self._limits = model, limits

    async def status(self, request):
        return _answer(_message(self._model.status(*_model_spec(request))))

    async def metadata(self, request):
        servable = self._model.find(*_model_spec(request))
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signature_defs)
        spec = {"name": self._model.name, "signature_name": "", "version": str(servable.version)}
        return _answer({"model_spec": spec, "metadata": {"signature_def": _message(signatures)}})

    async def predict(self, request):
        servable = self._model.find(*_model_spec(request))
        body = _parsed(await self._body(request))
        signature = body.get("signature_name", "")
        if not isinstance(signature, str):
            raise invalid("signature_name must be a string")
        if ("instances" in body) == ("inputs" in body):
            raise invalid("the request must have either instances or inputs")
        spec = servable.spec(signature)
        by_row = "instances" in body
        columns = _columns(body["instances"], spec) if by_row else _named(body["inputs"], spec)
        inputs = {
            name: _array(name, value, spec[name].dtype)
            for name, value in columns.items()
            if name in spec
        }
        if unknown := sorted(set(columns) - set(spec)):
            raise invalid(f"the signature has no input {unknown[0]!r}")
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                outputs = await servable.predict(signature, inputs)
        except TimeoutError:
            raise RejectedError(
                grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer within {_ANSWER_SECONDS} s"
            ) from None
        lists = {name: _list(name, value) for name, value in outputs.items()}
        return _answer({"predictions": _rows(lists)} if by_row else {"outputs": _unnamed(lists)})

    async def _body(self, request):
        if (request.content_length or 0) > self._limits.body_bytes:
            raise web.HTTPRequestEntityTooLarge(
                max_size=self._limits.body_bytes, actual_size=request.content_length
            )
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                return await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        except web.RequestPayloadError as error:
            raise invalid(f"the body cannot be read: {error}") from None


def _admission():
    """A middleware that turns requests away when too many are under way, so that their bodies
    cannot fill the memory.
    """
    under_way = 0

    @web.middleware
    async def admit(request, handler):
        nonlocal under_way
        if under_way >= _REQUESTS:
            raise RejectedError(
                grpc.StatusCode.UNAVAILABLE, "too many requests are under way; try again later"
            )
        under_way += 1
        try:
            return await handler(request)
        finally:
            under_way -= 1

    return admit


@web.middleware
async def _errors_as_json(request, handler):
    try:
        return await handler(request)
    except RejectedError as error:
        return _answer({"error": str(error)}, _HTTP[error.code])
    except web.HTTPException as error:
        return _answer({"error": error.text or error.reason}, error.status)
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception:  # a bug of ours: the client is told no more than that
        logging.exception("while answering %s", request.path)
        return _answer({"error": "internal error"}, 500)


def _answer(content, status=200):
    return web.json_response(content, status=status)


def _message(message):
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _model_spec(request):
    name, version = request.match_info["name"], request.match_info.get("version")
    if version is None:
        return name, None
    if not (version.isascii() and version.isdigit() and len(version) < 19):
        raise invalid(f"the version {version!r} is not a number of 64 bits")
    return name, int(version)


def _parsed(body):
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"the request is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise invalid("the request must be a JSON object")
    return content


def _columns(instances, spec):
    """Rows to columns: objects that have all keys, or values of the one input that there is."""
    if not isinstance(instances, list) or not instances:
        raise invalid("instances must be a list that is not empty")
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


def _array(name, value, dtype):
    """Nested lists to an array of a TensorFlow dtype. Raises RejectedError unless they fit."""
    wrong = invalid(f"input {name} is not a list of {dtype.name}")
    try:
        # Of references: strings among numbers would make NumPy pad all to the longest.
        array = np.array(value, object)
    except ValueError:
        raise wrong from None
    if dtype.as_numpy_dtype is object:
        flat = [_bytes(name, element) for element in array.ravel()]
        return np.array(flat, object).reshape(array.shape)
    allowed = {bool} if dtype.is_bool else {int} if dtype.is_integer else {int, float}
    if not {type(element) for element in array.flat} <= allowed:
        raise wrong
    if dtype.is_integer and not all(dtype.min <= element <= dtype.max for element in array.flat):
        raise invalid(f"input {name} has a value that is not within {dtype.name}")
    try:
        with np.errstate(over="ignore"):
            return array.astype(np.float64 if dtype.is_floating else dtype.as_numpy_dtype).astype(
                dtype.as_numpy_dtype
            )
    except OverflowError:
        raise invalid(f"input {name} has a value that is not within {dtype.name}") from None


def _bytes(name, element):
    if isinstance(element, str):
        return element.encode("utf-8", "replace")
    try:
        return base64.b64decode(element["b64"], validate=True)
    except (TypeError, KeyError, binascii.Error, ValueError):
        raise invalid(f"input {name} is not a list of string") from None


def _list(name, array):
    if array.dtype != object:
        return array.tolist()
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(text).decode()} for text in array]
    return [text.decode("utf-8", "replace") for text in array]


def _rows(lists):
    if len(lists) == 1:
        return next(iter(lists.values()))
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def _unnamed(lists):
    return next(iter(lists.values())) if len(lists) == 1 else lists
