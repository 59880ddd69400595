"""Bad, huge, slow and fuzzed requests: each is refused, and the server goes on."""

import gzip
import json
import socket

import grpc
import hypothesis
import numpy as np
import pytest
import requests
import tensorflow as tf
from absl.testing import parameterized
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from tests.serving.served import LENGTH, ServedTest, connections_to, predict_request, served_row

pytestmark = pytest.mark.slow


class HostileTest(ServedTest, parameterized.TestCase):
    flags = ("--max_batch_rows=64", "--max_body_bytes=100000")

    @parameterized.named_parameters(
        ("no_json", b"{", "not JSON"),
        ("not_utf_8", b"\xff\xfe\x00", "not JSON"),
        ("deep", b"[" * 50_000, "not JSON"),
        ("long_number", b'{"instances": [' + b"9" * 5000 + b"]}", "not JSON"),
        ("no_object", [1], "must be a JSON object"),
        ("nothing", {}, "either instances or inputs"),
        ("both", {"instances": [], "inputs": {}}, "either instances or inputs"),
        ("empty", {"instances": []}, "a list that is not empty"),
        ("no_list", {"instances": 3}, "a list that is not empty"),
        ("missing_key", {"instances": [{"seed": 1, "prefix": ""}]}, "exactly the keys"),
        ("extra_key", {"instances": [served_row() | {"more": 1}]}, "exactly the keys"),
        ("mixed_rows", {"instances": [served_row(), 1]}, "exactly the keys"),
        ("unnamed", {"inputs": [1]}, "must be named"),
        ("missing_input", {"inputs": {"seed": [1]}}, "the signature takes"),
        ("float_seed", {"instances": [served_row(seed=1.5)]}, "input seed is not a list of int64"),
        ("text_seed", {"instances": [served_row(seed="1")]}, "input seed is not a list of int64"),
        ("null_seed", {"instances": [served_row(seed=None)]}, "input seed is not a list of int64"),
        ("large_seed", {"instances": [served_row(seed=2**63)]}, "not within int64"),
        (
            "bool_temperature",
            {"instances": [served_row(temperature=True)]},
            "not a list of float32",
        ),
        ("number_prefix", {"instances": [served_row(prefix=1)]}, "not a list of string"),
        ("bad_base64", {"instances": [served_row(prefix={"b64": "!"})]}, "not a list of string"),
        (
            "ragged",
            {"inputs": {"seed": [1, [2]], "temperature": [1, 1], "prefix": ["", ""]}},
            "not a list of int64",
        ),
        ("wrong_rank", {"instances": [served_row(seed=[1])]}, "not a list of int64"),
        ("nested", {"inputs": {"seed": json.loads("[" * 33 + "]" * 33)}}, "not a list of int64"),
        (
            "unequal",
            {"inputs": {"seed": [1, 2], "temperature": [1], "prefix": [""]}},
            "differ in their number of rows",
        ),
        (
            "wrong_width",
            {"signature_name": "score_tokens", "instances": [[0, 1]]},
            "has shape \\[1, 2\\]",
        ),
        ("too_many", {"instances": [served_row()] * 65}, "has 65 rows; it may have 1 to 64"),
        ("no_signature", {"signature_name": "no", "instances": [served_row()]}, "'no' not found"),
        (
            "signature_type",
            {"signature_name": ["x"], "instances": [served_row()]},
            "must be a string",
        ),
    )
    def test_bad_requests_over_rest(self, body, message):
        response = self.server.post(body)
        self.assertEqual(response.status_code, 400)
        self.assertRegex(response.json()["error"], message)
        self._assert_still_serving()

    def test_unknown_paths_and_methods(self):
        for path, code in {
            "/none": 404,
            "/v1/models/no": 404,
            "/v1/models/regan/versions/9": 404,
            "/v1/models/regan/versions/x": 400,
            "/v1/models": 400,
            "/v1/models/regan/labels/stable": 400,
            "/v1/models/regan:predict": 400,
        }.items():
            response = requests.get(self.server.rest + path, timeout=30)
            self.assertEqual(response.status_code, code)
            self.assertIn("error", response.json())
        for url, code in {
            "/v1/models/regan/versions/7:predict": 404,
            "/v1/models/no:predict": 404,
            "/v1/models/regan:classify": 400,
            "/v1/models/regan:invent": 400,
            "/v1/models/regan/labels/stable:predict": 400,
        }.items():
            response = self.server.post({"instances": [served_row()]}, self.server.rest + url)
            self.assertEqual(response.status_code, code)

    def test_non_finite_numbers_make_a_row_invalid(self):
        response = self.server.post(
            b'{"instances": [{"seed": 1, "temperature": NaN, "prefix": ""}]}'
        )
        self.assertEqual(
            (response.status_code, response.json()["predictions"][0]["valid"]), (200, False)
        )

    def test_what_cannot_be_read_is_the_clients_fault(self):
        response = self.server.post(b"hello", headers={"Content-Encoding": "gzip"})
        self.assertEqual(response.status_code, 400)
        self.assertEqual(
            requests.get(f"{self.server.model}/versions/{'9' * 5000}", timeout=30).status_code, 400
        )
        call = self.server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        signature = predict_request({}, "s" * 20_000).SerializeToString()
        for data in (b"\xff\xff\xff", b"\x0a\x03\x0a\x01\xff", signature):
            with self.assertRaises(grpc.RpcError) as raised:
                call(data, timeout=30)
            self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self._assert_still_serving()

    def test_long_strings_take_no_memory(self):
        before = self.server.resident_megabytes()
        padded = {"seed": ["a" * 50_000] + [""] * 10_000, "temperature": [1], "prefix": [""]}
        self.assertEqual(self.server.post({"inputs": padded}).status_code, 400)
        for _ in range(10):
            row = self.server.post({"signature_name": "score", "instances": ["x" * 90_000]}).json()[
                "predictions"
            ][0]
            self.assertFalse(row["valid"])
        self.assertLess(self.server.resident_megabytes(), before + 50)

    def test_huge_bodies_are_refused_and_memory_is_bounded(self):
        before = self.server.resident_megabytes()
        bomb = gzip.compress(b" " * 200_000_000)
        for _ in range(3):
            for data, headers in ((b" " * 20_000_000, {}), (bomb, {"Content-Encoding": "gzip"})):
                try:
                    code = requests.post(
                        f"{self.server.model}:predict", data=data, headers=headers, timeout=30
                    ).status_code
                except requests.ConnectionError:  # it hung up while we were still sending
                    code = 413
                self.assertIn(code, (400, 413))
            with self.assertRaises(grpc.RpcError) as raised:
                self.server.prediction.Predict(predict_request({"seed": np.zeros(1_000_000)}))
            self.assertEqual(raised.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertLess(self.server.resident_megabytes(), before + 100)
        self._assert_still_serving()

    def test_slow_and_half_closed_clients_hold_up_no_other(self):
        head = b"POST /v1/models/regan:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        with connections_to(self.server.rest_port, 300) as connections:
            for i, connection in enumerate(connections):
                # Half a header, or half a body.
                connection.sendall(head[: i + 1] if i % 2 else head + b"\r\n{")
                if i % 3 == 0:
                    connection.shutdown(socket.SHUT_WR)
            self._assert_still_serving()
            connections[4].setblocking(False)
            with self.assertRaises(
                BlockingIOError
            ):  # others are answered while it still holds its place ...
                connections[4].recv(100)
            connections[4].settimeout(60)  # ... which it does not for ever
            self.assertStartsWith(connections[4].recv(100), b"HTTP/1.1 408")
        self._assert_still_serving()

    def assertStartsWith(self, data, start):  # noqa: N802
        self.assertEqual(data[: len(start)], start)

    def test_bad_http(self):
        for data in (
            b"\x00\x01\x02\r\n\r\n",
            b"GET\r\n\r\n",
            b"POST / HTTP/9.9\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        ):
            with connections_to(self.server.rest_port, 1) as (connection,):
                connection.settimeout(10)
                connection.sendall(data)
                self.assertRegex(connection.recv(100), rb"HTTP/1.\d 4\d\d")
        self._assert_still_serving()

    @parameterized.named_parameters(
        ("no_inputs", {}, "the signature takes"),
        ("wrong_type", {"tokens": np.zeros([1, LENGTH])}, "must be int32"),
        ("wrong_rank", {"tokens": np.zeros([LENGTH], np.int32)}, "has shape"),
        ("wrong_width", {"tokens": np.zeros([1, 2], np.int32)}, "has shape"),
        ("too_many", {"tokens": np.zeros([65, LENGTH], np.int32)}, "65 rows"),
        ("no_rows", {"tokens": np.zeros([0, LENGTH], np.int32)}, "0 rows"),
        ("unknown_input", {"x": np.zeros([1, LENGTH], np.int32)}, "no input 'x'"),
        ("claims_much", {"tokens": ([10**12, LENGTH], {"int_val": [1]})}, "rows; it may have"),
        ("negative_shape", {"tokens": ([-1, LENGTH], {"int_val": [1]})}, "has shape"),
        ("short_content", {"tokens": ([1, LENGTH], {"tensor_content": b"abc"})}, "cannot be read"),
        (
            "long_content",
            {"tokens": ([1, LENGTH], {"tensor_content": b"abcd" * 7})},
            "cannot be read|does not fill",
        ),
    )
    def test_bad_requests_over_grpc(self, inputs, message):
        for name, value in inputs.items():
            if isinstance(value, tuple):
                shape = tensor_shape_pb2.TensorShapeProto(dim=[{"size": size} for size in value[0]])
                inputs = {
                    name: tensor_pb2.TensorProto(
                        dtype=tf.int32.as_datatype_enum, tensor_shape=shape, **value[1]
                    )
                }
        with self.assertRaises(grpc.RpcError) as raised:
            self.server.prediction.Predict(predict_request(inputs, "score_tokens"))
        self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertRegex(raised.exception.details(), message)
        self._assert_still_serving()

    def test_unknown_model_version_and_signature_over_grpc(self):
        for request, code in (
            (predict_request({}, model="no"), grpc.StatusCode.NOT_FOUND),
            (predict_request({}, version=3), grpc.StatusCode.NOT_FOUND),
            (predict_request({}, "no"), grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with self.assertRaises(grpc.RpcError) as raised:
                self.server.prediction.Predict(request)
            self.assertEqual(raised.exception.code(), code)

    def test_calls_by_the_thousand_are_answered_or_refused_and_none_is_cancelled(self):
        request = predict_request(
            {"seed": np.array([5]), "temperature": np.float32([1]), "prefix": np.array([""])}
        )
        apart = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.insecure_channel(self.server.grpc, apart) for _ in range(8)]
        stubs = [prediction_service_pb2_grpc.PredictionServiceStub(c) for c in channels]
        calls = [stubs[i % 8].Predict.future(request, timeout=120) for i in range(2000)]
        codes = {call.code().name for call in calls}
        self.assertIn("OK", codes)
        self.assertContainsSubset(codes, {"OK", "RESOURCE_EXHAUSTED"})
        for channel in channels:
            channel.close()
        self._assert_still_serving()

    def test_fuzzed_json(self):
        values = st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(max_size=8)
            | st.just({"b64": "eA=="}),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(st.sampled_from(["seed", "temperature", "prefix", "b64"]), inner)
            ),
            max_leaves=12,
        )
        names = st.sampled_from(["instances", "inputs", "signature_name", "x"])
        likely = st.fixed_dictionaries({"seed": values, "temperature": values, "prefix": values})
        bodies = (
            st.dictionaries(names, values | likely | st.lists(likely, max_size=3), max_size=3)
            | values
        )
        bodies |= st.builds(
            lambda rows: {"instances": rows}, st.lists(likely, min_size=1, max_size=3)
        )
        session = requests.Session()

        @hypothesis.settings(max_examples=400, deadline=None, derandomize=True, database=None)
        @hypothesis.given(
            st.builds(lambda body: json.dumps(body).encode(), bodies) | st.binary(max_size=200)
        )
        def ask(body):
            code = session.post(f"{self.server.model}:predict", data=body, timeout=30).status_code
            self.assertTrue(code == 200 or 400 <= code < 500, code)

        ask()
        self._assert_still_serving()

    def test_fuzzed_tensors(self):
        shapes = st.builds(
            lambda sizes, unknown: tensor_shape_pb2.TensorShapeProto(
                dim=[{"size": s} for s in sizes], unknown_rank=unknown
            ),
            st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-1, 3), max_size=3),
            st.booleans(),
        )

        def tensors(*dtypes):
            return st.builds(
                tensor_pb2.TensorProto,
                dtype=st.sampled_from(dtypes),
                tensor_shape=shapes | st.just(tensor_shape_pb2.TensorShapeProto(dim=[{"size": 2}])),
                tensor_content=st.just(b"") | st.binary(max_size=20),
                int64_val=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
                float_val=st.lists(st.floats(width=32), max_size=3),
                string_val=st.lists(st.binary(max_size=8), max_size=3),
            )

        any_type = tensors(0, 1, 3, 7, 9, 10, 14, 19, 20)
        right = {
            "seed": tensors(tf.int64.as_datatype_enum),
            "temperature": tensors(tf.float32.as_datatype_enum),
        }
        inputs = st.fixed_dictionaries(right | {"prefix": tensors(tf.string.as_datatype_enum)})
        inputs |= st.dictionaries(
            st.sampled_from(["seed", "temperature", "prefix"]) | st.text(max_size=5), any_type
        )

        @hypothesis.settings(max_examples=400, deadline=None, derandomize=True, database=None)
        @hypothesis.given(inputs)
        def ask(inputs):
            try:
                self.server.prediction.Predict(predict_request(inputs))
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT, error)

        ask()
        self._assert_still_serving()


if __name__ == "__main__":
    tf.test.main()
