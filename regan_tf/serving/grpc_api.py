"""TF Serving's gRPC interface, with its official messages, for one model."""

import asyncio
import math

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from regan_tf.serving import connections
from regan_tf.serving.refusals import RejectedError, invalid
from regan_tf.serving.signatures import DEFAULT

# The field of a TensorProto that holds numbers of a type, or texts.
_FIELDS = (
    dict.fromkeys((tf.int8, tf.int16, tf.int32, tf.uint8, tf.uint16), "int_val")
    | {tf.float32: "float_val", tf.float64: "double_val", tf.int64: "int64_val"}
    | {tf.uint32: "uint32_val", tf.uint64: "uint64_val"}
    | {tf.bool: "bool_val", tf.string: "string_val"}
)
_CALLS = 256  # under way at once
_PENDING = 1_000_000
_HANDSHAKE_MILLISECONDS = 10_000


def server(model, limits, most):
    """The grpc.aio server that answers for a Model; it has no port yet. `most` connections may be
    open.
    """
    options = {
        "grpc.so_reuseport": 0,  # else a second server would share the port in silence
        "grpc.max_receive_message_length": limits.body_bytes,
        "grpc.max_allowed_incoming_connections": most,
        "grpc.max_connection_idle_ms": 1000 * connections.IDLE_SECONDS,
        "grpc.server_handshake_timeout_ms": _HANDSHAKE_MILLISECONDS,
        # Beyond 1,000, by default, some are cancelled at random before we see them: no client could
        # know why.
        "grpc.server.max_pending_requests": _PENDING,
        "grpc.server.max_pending_requests_hard_limit": _PENDING,
    }
    made = grpc.aio.server(options=list(options.items()), maximum_concurrent_rpcs=_CALLS)
    api = _Api(model)
    prediction = {
        "Predict": _handler(api.predict, predict_pb2.PredictRequest),
        "GetModelMetadata": _handler(api.metadata, get_model_metadata_pb2.GetModelMetadataRequest),
    }
    status = {"GetModelStatus": _handler(api.status, get_model_status_pb2.GetModelStatusRequest)}
    services = {
        "tensorflow.serving.PredictionService": prediction,
        "tensorflow.serving.ModelService": status,
    }
    made.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(*service) for service in services.items()]
    )
    return made


def _handler(method, message):
    """Errors become statuses. The request is read here, as a stream of one message: gRPC would wait
    for it for ever, and answer UNKNOWN to what it cannot read.
    """

    async def answer(requests, context):
        try:
            return await method(message.FromString(await _sent(requests)))
        except DecodeError:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"the request is not a {message.__name__}"
            )
        except RejectedError as error:
            await context.abort(error.code, str(error))

    return grpc.stream_unary_rpc_method_handler(
        answer, response_serializer=lambda response: response.SerializeToString()
    )


async def _sent(requests):
    """The one request that a client sends, bytes. Raises RejectedError if that takes long."""
    try:
        async with asyncio.timeout(connections.REQUEST_SECONDS):
            return await anext(requests, b"")
    except TimeoutError:
        raise RejectedError(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            f"no request within {connections.REQUEST_SECONDS} s",
        ) from None


def _tensor(array):
    """An array to a TensorProto with a typed field, as TF Serving has it by default: some clients
    read no `tensor_content`.
    """
    dtype = tf.as_dtype(array.dtype)
    field = _FIELDS.get(dtype)
    if field is None:
        return tf.make_tensor_proto(array)
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, field).extend(array.ravel().tolist())
    return proto


class _Api:
    def __init__(self, model):
        self._model = model

    async def predict(self, request):
        servable = self._model.find(*_name_and_version(request))
        signature = request.model_spec.signature_name
        spec = servable.spec(signature)
        inputs = {
            name: _array(name, value, spec, servable) for name, value in request.inputs.items()
        }
        if len(set(request.output_filter)) < len(request.output_filter):
            raise invalid("output_filter names an output twice")
        outputs = await servable.predict(signature, inputs)
        if unknown := sorted(set(request.output_filter) - set(outputs)):
            raise invalid(
                f"output_filter names {unknown[0]!r}; the outputs are {', '.join(sorted(outputs))}"
            )
        response = predict_pb2.PredictResponse()
        response.model_spec.name = self._model.name
        response.model_spec.version.value = servable.version
        response.model_spec.signature_name = signature or DEFAULT
        for name, value in outputs.items():
            if not request.output_filter or name in request.output_filter:
                response.outputs[name].CopyFrom(_tensor(value))
        return response

    async def metadata(self, request):
        servable = self._model.find(*_name_and_version(request))
        if list(request.metadata_field) != ["signature_def"]:
            raise invalid("metadata_field must be signature_def")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = self._model.name
        response.model_spec.version.value = servable.version
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signature_defs)
        response.metadata["signature_def"].Pack(signatures)
        return response

    async def status(self, request):
        return self._model.status(*_name_and_version(request))


def _name_and_version(request):
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    spec = request.model_spec
    if spec.version_label:
        raise invalid(f"Unrecognized servable version label: {spec.version_label}")
    return spec.name, spec.version.value if spec.HasField("version") else None


def _array(name, proto, specs, servable):
    """A TensorProto to an array. Its shape is checked first: a few bytes may claim any size."""
    if name not in specs:
        raise invalid(f"the signature has no input {name!r}")
    spec = specs[name]
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.dtype != spec.dtype.as_datatype_enum:
        raise invalid(f"input {name} must be {spec.dtype.name}")
    if (
        proto.tensor_shape.unknown_rank
        or min(shape, default=-1) < 0  # or a number, which is no row
        or not spec.shape.is_compatible_with(shape)
    ):
        raise invalid(f"input {name} has shape {shape}; it must be {spec.shape}")
    servable.limits.checked_rows(shape[0])
    if math.prod(shape) > servable.limits.body_bytes:  # of other dimensions that are free
        raise invalid(f"input {name} has shape {shape}, more than a request may hold")
    try:
        array = tf.make_ndarray(proto)
    except (ValueError, TypeError) as error:
        raise invalid(f"input {name} cannot be read: {error}") from None
    if array.size != np.prod(shape):
        raise invalid(f"input {name} does not fill its shape {shape}")
    return array
