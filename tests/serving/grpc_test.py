"""The gRPC interface in this process, with a model that is none."""

import asyncio
import concurrent.futures
import types
from unittest import mock

import grpc
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from regan_tf.serving import connections, grpc_api
from regan_tf.serving.client import Client, ServingError
from regan_tf.serving.refusals import Limits
from tests.serving.served import endless, predict_request

# One number, which would fill all of its shape.
_CLAIM = tensor_pb2.TensorProto(
    dtype=tf.int64.as_datatype_enum,
    tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=[{"size": 1}, {"size": 10**10}]),
    int64_val=[1],
)


def _model(predict):
    spec = {"x": tf.TensorSpec([None], tf.int64), "s": tf.TensorSpec([], tf.int64)}
    spec |= {"f": tf.TensorSpec([None, None], tf.int64)}
    servable = types.SimpleNamespace(
        limits=Limits(), version=1, predict=predict, spec=lambda signature: spec
    )
    return types.SimpleNamespace(name="m", find=lambda name, version=None: servable)


def _ask(predict, talk):
    """Runs `talk(stub, channel)` beside a server of that prediction."""

    async def run():
        server = grpc_api.server(_model(predict), Limits(), most=8)
        port = server.add_insecure_port("localhost:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"localhost:{port}") as channel:
                await talk(prediction_service_pb2_grpc.PredictionServiceStub(channel), channel)
        finally:
            await server.stop(0)

    asyncio.run(run())


class InterfaceTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        (predict_pb2.PredictRequest(), "Missing ModelSpec"),
        (predict_request({}, output_filter=["y", "y"]), "output_filter names an output twice"),
        (predict_request({"s": np.int64(1)}), "input s has shape"),
        (predict_request({"z": np.ones(1)}), "no input 'z'"),
        (predict_request({"f": _CLAIM}), "more than a request may hold"),
    )
    def test_bad_requests(self, request, message):
        async def predict(signature, inputs):
            return {"y": np.ones(1)}

        async def talk(stub, _):
            with self.assertRaises(grpc.RpcError) as raised:
                await stub.Predict(request)
            self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
            self.assertIn(message, raised.exception.details())

        _ask(predict, talk)

    def test_labels_are_unknown(self):
        request = predict_request({})
        request.model_spec.version_label = "stable"

        async def talk(stub, _):
            with self.assertRaises(grpc.RpcError) as raised:
                await stub.Predict(request)
            self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
            self.assertIn("Unrecognized servable version label", raised.exception.details())

        _ask(None, talk)

    @parameterized.parameters(True, False)
    def test_who_leaves_or_is_too_late_is_not_worked_for(self, leaves):
        began, ended = asyncio.Event(), asyncio.Event()

        async def talk(stub, _):
            request = predict_request({"x": np.array([1])})
            if leaves:
                call = stub.Predict(request)
                await began.wait()
                call.cancel()
            for seconds in () if leaves else (0.2, 2, 20):  # where the machine is busy
                with self.assertRaises(grpc.RpcError):
                    await stub.Predict(request, timeout=seconds)
                if began.is_set():
                    break
            await asyncio.wait_for(ended.wait(), 60)

        _ask(endless(began, ended), talk)

    def test_a_request_that_does_not_come_holds_no_place(self):
        async def predict(signature, inputs):
            return {"y": inputs["x"]}

        async def never():
            await asyncio.sleep(600)
            yield b""

        async def talk(stub, channel):
            path = "/tensorflow.serving.PredictionService/Predict"
            slow = [channel.stream_unary(path)(never()) for _ in range(2)]
            for call in slow:
                with self.assertRaises(grpc.RpcError) as raised:
                    await call
                self.assertEqual(raised.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
            # Callers hear of their end before the server has done with them.
            for left in reversed(range(100)):
                try:
                    await stub.Predict(predict_request({"x": np.array([1])}), wait_for_ready=True)
                    break
                except grpc.RpcError as error:
                    if not left or error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                        raise
                await asyncio.sleep(0.1)

        with (
            mock.patch.object(grpc_api, "_CALLS", 2),
            mock.patch.object(connections, "REQUEST_SECONDS", 0.2),
        ):
            _ask(predict, talk)

    @parameterized.parameters(
        *(np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64),
        *(np.float32, np.float64, np.bool_),
    )
    def test_numbers_are_in_typed_fields(self, dtype):
        array = np.arange(6).reshape(2, 3).astype(dtype)
        proto = grpc_api._tensor(array)
        self.assertEmpty(proto.tensor_content)
        self.assertAllEqual(tf.make_ndarray(proto), array)
        self.assertEqual(tf.make_ndarray(proto).dtype, array.dtype)

    @parameterized.parameters(
        (np.array([[b"a", b"\xff"]], object),),
        (np.zeros([0, 3], np.float32),),
        (np.arange(3).astype(tf.bfloat16.as_numpy_dtype),),
        (np.array([1 + 2j]),),
    )
    def test_other_tensors(self, array):
        self.assertAllEqual(tf.make_ndarray(grpc_api._tensor(array)), array)


class ClientTest(tf.test.TestCase):
    def test_what_may_pass_is_tried_again(self):
        codes = [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE]
        codes += [grpc.StatusCode.CANCELLED, None, grpc.StatusCode.INVALID_ARGUMENT]

        def predict(request, context):
            if code := codes.pop(0):
                context.abort(code, "not now")
            return predict_pb2.PredictResponse(outputs={"y": tf.make_tensor_proto([3])})

        server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            mock.Mock(Predict=predict), server
        )
        port = server.add_insecure_port("localhost:0")
        server.start()
        with Client(f"localhost:{port}", deadline=60) as client:
            self.assertAllEqual(client.predict("any", {"x": np.ones(1)})["y"], [3])
            with self.assertRaisesRegex(ServingError, "INVALID_ARGUMENT: not now"):
                client.predict("any", {"x": np.ones(1)})
        self.assertEmpty(codes)
        server.stop(None)


if __name__ == "__main__":
    tf.test.main()
