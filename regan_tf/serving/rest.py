"""TF Serving's REST interface, https://www.tensorflow.org/tfx/serving/api_rest, for one model."""

import asyncio
import contextlib
import math
from concurrent.futures import ThreadPoolExecutor

import grpc
from absl import logging
from aiohttp import hdrs, web
from google.protobuf.json_format import MessageToDict
from tensorflow_serving.apis import get_model_metadata_pb2

from regan_tf.serving import connections, page, rest_json
from regan_tf.serving.refusals import RejectedError, busy, invalid
from regan_tf.serving.versions import is_version

_ANSWER_SECONDS = 30  # TF Serving's rest_api_timeout_in_ms
_SMALL = 16 * 1024  # bytes, or numbers, that are read or written in less time than a thread takes
_BODIES = 64  # of the largest size, that may be in memory at once, before they are arrays

# JSON is parsed and written here where that takes long, one text at a time: they would share
# Python's lock.
_TEXTS = ThreadPoolExecutor(1, thread_name_prefix="json")

_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.INTERNAL: 500,
}


def application(model, limits, under_way, answers):
    """The aiohttp application that answers for a Model.

    Args:
      model, limits: what to serve, and the Limits of requests.
      under_way: a set, which is kept to the connections whose requests are whole and not answered.
      answers: the connections.Answers that writes them.
    """
    api = _Api(model, limits, under_way)
    app = web.Application(middlewares=[answers.written, _errors_as_json])
    for base in (
        "/v1/models/{name:[^/:]+}",
        "/v1/models/{name:[^/:]+}/versions/{version:[^/:]+}",
        "/v1/models/{name:[^/:]+}/labels/{label:[^/:]+}",
    ):
        app.router.add_get(base, api.status)
        app.router.add_get(f"{base}/metadata", api.metadata)
        app.router.add_post(f"{base}:predict", api.predict)
        app.router.add_post(f"{base}:{{verb:classify|regress}}", api.examples)
    page.add_to(app, model)
    app.router.add_route(hdrs.METH_ANY, "/v1/{rest:.*}", _malformed)
    return app


class _Api:
    def __init__(self, model, limits, under_way):
        self._model, self._limits, self._under_way = model, limits, under_way
        self._held = 0  # bytes of bodies

    async def status(self, request):
        return web.json_response(_message(self._model.status(*_model_spec(request))))

    async def metadata(self, request):
        servable = self._model.find(*_model_spec(request))
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signature_defs)
        spec = {"name": self._model.name, "signature_name": "", "version": str(servable.version)}
        metadata = {"signature_def": _message(signatures)}
        return web.json_response({"model_spec": spec, "metadata": metadata})

    async def examples(self, request):
        self._model.find(*_model_spec(request))
        raise invalid(f"no signature takes the tf.Example of :{request.match_info['verb']}")

    async def predict(self, request):
        servable = self._model.find(*_model_spec(request))
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                query = await self._query(request, servable)
                outputs = await servable.predict(query.signature, query.inputs)
                numbers = sum(value.size for value in outputs.values())
                text = await _apart(numbers, rest_json.answer, outputs, query.by_row)
        except TimeoutError:
            raise RejectedError(
                grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer within {_ANSWER_SECONDS} s"
            ) from None
        finally:
            self._under_way.discard(request.protocol)
        return web.Response(text=text, content_type="application/json")

    async def _query(self, request, servable):
        encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower()
        if encoding not in ("identity", "gzip"):
            raise web.HTTPUnsupportedMediaType(text=f"the encoding {encoding[:50]} is not gzip")
        length = request.content_length
        if (length or 0) > self._limits.body_bytes:
            raise web.HTTPRequestEntityTooLarge(self._limits.body_bytes, length)
        is_gzip = encoding == "gzip"
        with self._room() as take:
            body = await self._body(request, take)
            size = math.inf if is_gzip else len(body)
            return await _apart(size, rest_json.parsed, body, is_gzip, servable)

    async def _body(self, request, take):
        body = bytearray()
        try:
            async with asyncio.timeout(connections.REQUEST_SECONDS):
                async for part in request.content.iter_any():
                    take(len(part))
                    body += part
                    if len(body) > self._limits.body_bytes:
                        raise web.HTTPRequestEntityTooLarge(self._limits.body_bytes, len(body))
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        except web.RequestPayloadError as error:
            raise invalid(f"the body cannot be read: {error}") from None
        self._under_way.add(request.protocol)
        return bytes(body)

    @contextlib.contextmanager
    def _room(self):
        """Gives a function that takes so many bytes, up to the end of the `with`, or raises
        RejectedError. A body that does not come takes none.
        """
        taken = 0

        def take(size):
            nonlocal taken
            is_small = taken + size <= _SMALL  # these pass large ones that stall
            if not is_small and self._held + size > _BODIES * self._limits.body_bytes:
                raise busy("too many large requests are being read")
            self._held, taken = self._held + size, taken + size

        try:
            yield take
        finally:
            self._held -= taken


async def _apart(size, function, *arguments):
    """Calls the function, on a thread of its own if that takes long."""
    if size <= _SMALL:
        return function(*arguments)
    return await asyncio.get_running_loop().run_in_executor(_TEXTS, function, *arguments)


async def _malformed(request):
    raise invalid(f"Malformed request: {request.method} {request.path}")


@web.middleware
async def _errors_as_json(request, handler):
    try:
        return await handler(request)
    except RejectedError as error:
        code = _HTTP[error.code]
        headers = {hdrs.RETRY_AFTER: "1"} if code == 503 else None
        return web.json_response({"error": str(error)}, status=code, headers=headers)
    except web.HTTPException as error:
        return web.json_response({"error": error.text or error.reason}, status=error.status)
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception:  # a bug of ours: the client is told no more than that
        logging.exception("while answering %s", request.path)
        return web.json_response({"error": "internal error"}, status=500)


def _message(message):
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _model_spec(request):
    name, version = request.match_info["name"], request.match_info.get("version")
    if label := request.match_info.get("label"):
        raise invalid(f"Unrecognized servable version label: {label}")
    if version is None:
        return name, None
    if not is_version(version):
        raise invalid(f"the version {version!r} is not a number of 64 bits")
    return name, int(version)
