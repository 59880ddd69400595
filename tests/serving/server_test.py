"""The local server and the client, in processes of their own, over both interfaces."""

import asyncio
import concurrent.futures
import gzip
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager

import grpc
import hypothesis
import numpy as np
import pytest
import requests
import tensorflow as tf
from absl.testing import parameterized
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, text_format
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

from regan_tf.config import UserError
from regan_tf.serving import publishing
from regan_tf.serving import server as local_server
from regan_tf.serving.client import Client, ServingError
from regan_tf.serving.model import Model
from regan_tf.serving.servable import Limits
from regan_tf.tasks.grammar import VOCABULARY
from regan_tf.tasks.text import Vocabulary
from tests import problems

_LENGTH = 6


class Server:
    """A server process; its addresses are read from what it prints."""

    def __init__(self, directory, *flags):
        command = [
            sys.executable,
            "-m",
            "regan_tf.serve",
            f"--model_dir={directory}",
            "--rest_port=0",
            "--grpc_port=0",
        ]
        command += ["--poll_seconds=0.1", *flags]
        # Not a pipe: nobody reads it while the server writes.
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        line = self.process.stdout.readline()
        found = re.search(r"REST at (http://localhost:(\d+)), gRPC at (localhost:\d+)", line)
        if not found:
            self._log.seek(0)
            raise RuntimeError(line + self._log.read())
        self.rest, self.rest_port, self.grpc = found[1], int(found[2]), found[3]
        self.model = f"{self.rest}/v1/models/regan"
        self.channel = grpc.insecure_channel(self.grpc)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.status = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def post(self, body, url=None, **kwargs):
        kwargs |= {"json": body} if not isinstance(body, bytes) else {"data": body}
        return requests.post(url or f"{self.model}:predict", timeout=30, **kwargs)

    def resident_megabytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024

    def stop(self):
        """Ends it as Ctrl-C does; returns its exit code and what else it printed."""
        self.channel.close()
        self.process.send_signal(signal.SIGINT)
        output, _ = self.process.communicate(timeout=120)
        return self.process.returncode, output


def _publish(directory, seed=0):
    generator, discriminator = problems.networks(seed, 5, _LENGTH, spread=0.7)
    return publishing.publish(generator, discriminator, VOCABULARY, directory)


def _row(seed=1, temperature=1.0, prefix=""):
    return {"seed": seed, "temperature": temperature, "prefix": prefix}


def _request(inputs, signature="", model="regan", version=None, **kwargs):
    request = predict_pb2.PredictRequest(**kwargs)
    request.model_spec.name, request.model_spec.signature_name = model, signature
    if version is not None:
        request.model_spec.version.value = version
    for name, value in inputs.items():
        is_proto = isinstance(value, tensor_pb2.TensorProto)
        request.inputs[name].CopyFrom(value if is_proto else tf.make_tensor_proto(value))
    return request


class _ServedTest(tf.test.TestCase):
    """One server for all tests of a class."""

    flags = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.directory = (
            pathlib.Path(tf.compat.v1.test.get_temp_dir()) / f"{cls.__name__}-{os.getpid()}"
        )
        cls.path = _publish(cls.directory)
        cls.loaded = tf.saved_model.load(str(cls.path)).signatures
        cls.server = Server(cls.directory, *cls.flags)

    @classmethod
    def tearDownClass(cls):
        code, output = cls.server.stop()
        super().tearDownClass()
        assert (code, output.splitlines()[-1]) == (0, "stopped"), (code, output)

    def _expected(self, seeds, temperature=1.0, prefix=""):
        size = len(seeds)
        inputs = {"seed": tf.constant(seeds, tf.int64), "temperature": tf.fill([size], temperature)}
        return {
            k: v.numpy()
            for k, v in self.loaded["generate"](prefix=tf.fill([size], prefix), **inputs).items()
        }

    def _assert_same(self, found, expected):
        """Numbers of another process, in another batch, may differ in their last bits."""
        if np.asarray(expected).dtype == np.float32:
            self.assertAllClose(found, expected, rtol=1e-5, atol=1e-6)
        else:
            self.assertAllEqual(found, expected)

    def _assert_still_serving(self):
        response = self.server.post({"instances": [_row(5)]})
        self.assertEqual(response.status_code, 200, response.text)
        self.assertEqual(
            response.json()["predictions"][0]["text"], self._expected([5])["text"][0].decode()
        )


@pytest.mark.slow
class InterfaceTest(_ServedTest, parameterized.TestCase):
    def test_rows_and_columns_over_rest(self):
        expected = self._expected([3, 4], 0.5, "x+")
        rows = self.server.post({"instances": [_row(3, 0.5, "x+"), _row(4, 0.5, "x+")]}).json()[
            "predictions"
        ]
        columns = {"seed": [3, 4], "temperature": [0.5, 0.5], "prefix": ["x+", {"b64": "eCs="}]}
        columns = self.server.post({"signature_name": "generate", "inputs": columns}).json()[
            "outputs"
        ]
        self.assertCountEqual(columns, expected)
        for name, value in expected.items():
            value = value if value.dtype != object else [text.decode() for text in value]
            self._assert_same(columns[name], value)
            self._assert_same([row[name] for row in rows], value)

    def test_a_single_input_needs_no_name(self):
        texts = ["x+x+x+", "x"]
        bodies = [
            {"instances": texts},
            {"inputs": texts},
            {"inputs": {"text": texts}},
            {"instances": [{"text": t} for t in texts]},
        ]
        bodies.append({"instances": [texts[0], {"b64": "eA=="}]})
        answers = [self.server.post(body | {"signature_name": "score"}).json() for body in bodies]
        self.assertEqual([p["valid"] for p in answers[0]["predictions"]], [True, False])
        self.assertEqual(answers[0], answers[3])
        self.assertEqual(answers[0], answers[4])
        self.assertEqual(answers[1], answers[2])
        self.assertEqual(
            answers[1]["outputs"]["log_prob"], [p["log_prob"] for p in answers[0]["predictions"]]
        )

    def test_predict_over_grpc(self):
        inputs = {
            "seed": np.array([3, 4]),
            "temperature": np.float32([0.5, 0.5]),
            "prefix": np.array(["x+", "x+"]),
        }
        response = self.server.prediction.Predict(_request(inputs))
        self.assertEqual(
            (response.model_spec.name, response.model_spec.version.value), ("regan", 1)
        )
        self.assertEqual(response.model_spec.signature_name, "serving_default")
        for name, value in self._expected([3, 4], 0.5, "x+").items():
            self._assert_same(tf.make_ndarray(response.outputs[name]), value)
        filtered = self.server.prediction.Predict(
            _request(inputs, version=1, output_filter=["text"])
        )
        self.assertCountEqual(filtered.outputs, ["text"])

    def test_discriminate(self):
        response = self.server.post(
            {
                "signature_name": "discriminate",
                "instances": [[0, 1, 0, 1, 0, 1], [0, 0, 0, 0, 0, 9]],
            }
        )
        expected = self.loaded["discriminate"](tf.constant([[0, 1, 0, 1, 0, 1]]))["p_real"].numpy()[
            0
        ]
        rows = response.json()["predictions"]
        self._assert_same([row["p_real"] for row in rows], [expected, np.float32(0)])
        self.assertEqual([row["valid"] for row in rows], [True, False])

    def test_status(self):
        available = {
            "version": "1",
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
        for url in (self.server.model, f"{self.server.model}/versions/1"):
            self.assertEqual(
                requests.get(url, timeout=30).json(), {"model_version_status": [available]}
            )
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "regan"
        status = self.server.status.GetModelStatus(request).model_version_status
        self.assertEqual(
            [(s.version, s.state) for s in status],
            [(1, get_model_status_pb2.ModelVersionStatus.AVAILABLE)],
        )

    def test_metadata(self):
        metadata = requests.get(f"{self.server.model}/versions/1/metadata", timeout=30).json()
        self.assertEqual(
            metadata["model_spec"], {"name": "regan", "signature_name": "", "version": "1"}
        )
        signatures = metadata["metadata"]["signature_def"]["signature_def"]
        self.assertCountEqual(signatures, self.loaded)
        self.assertEqual(signatures["score"]["inputs"]["text"]["dtype"], "DT_STRING")
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = "regan"
        packed = self.server.prediction.GetModelMetadata(request).metadata["signature_def"]
        self.assertIsInstance(packed, any_pb2.Any)
        unpacked = get_model_metadata_pb2.SignatureDefMap()
        self.assertTrue(packed.Unpack(unpacked))
        self.assertCountEqual(unpacked.signature_def, self.loaded)

    def test_many_clients_get_their_own_rows(self):
        expected = self._expected(list(range(320)))["text"]

        def ask(client):
            rows = [_row(seed) for seed in range(client * 10, client * 10 + 10)]
            return [
                row["text"].encode()
                for row in self.server.post({"instances": rows}).json()["predictions"]
            ]

        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            for client, texts in zip(range(32), pool.map(ask, range(32)), strict=True):
                self.assertAllEqual(texts, expected[client * 10 : client * 10 + 10])

    @parameterized.parameters("grpc", "rest")
    def test_client(self, interface):
        with Client(getattr(self.server, interface)) as client:
            rows = client.generate(1200, seed=7, temperature=0.5, prefix="x+")
            self.assertLen(rows["text"], 1200)
            self.assertTrue(
                all(text.startswith("x+") and len(text) == _LENGTH for text in rows["text"])
            )
            self.assertGreater(len(set(rows["text"])), 20)
            self.assertAllEqual(
                client.generate(5, seed=7, temperature=0.5, prefix="x+")["tokens"],
                rows["tokens"][:5],
            )
            self.assertNotAllEqual(
                client.generate(5, seed=8, temperature=0.5, prefix="x+")["tokens"],
                rows["tokens"][:5],
            )
            scores = client.score([*rows["text"][:3], "?"])
            self.assertAllEqual(scores["valid"], [True] * 3 + [False])
            live = self.loaded["score_tokens"](tf.constant(rows["tokens"][:3], tf.int32))
            self._assert_same(scores["log_prob"][:3], live["log_prob"].numpy())
            self.assertAllInRange(client.discriminate(rows["tokens"][:3])["p_real"], 0, 1)
            with self.assertRaisesRegex(
                ServingError, "(?s)answers (400|INVALID_ARGUMENT): .*'nothing' not found"
            ):
                client.predict("nothing", {"tokens": rows["tokens"][:3]})

    def test_a_port_is_not_shared(self):
        """Another server, in this process, may not have it; how a command shows such an error is
        tested below.
        """
        limits, port = Limits(), int(self.server.grpc.split(":")[1])
        model = Model("regan", self.directory, limits, batching=True)
        with self.assertRaisesRegex(UserError, f"--grpc_port={port} cannot be used"):
            asyncio.run(local_server.run(model, limits, "localhost", 0, port, 1.0, self.fail))

    def test_client_command(self):
        command = [sys.executable, "-m", "regan_tf.client", f"--address={self.server.rest}"]

        def run(*arguments, **kwargs):
            return subprocess.run(
                [*command, *arguments], capture_output=True, text=True, check=False, **kwargs
            )

        drawn = run("generate", "--num=3", "--prefix=x+", "--seed=7")
        self.assertEqual(drawn.returncode, 0, drawn.stderr)
        self.assertLen(drawn.stdout.splitlines(), 3)
        scored = run("score", "--format=jsonl", input=drawn.stdout)
        scored = [json.loads(line) for line in scored.stdout.splitlines()]
        self.assertEqual([s["text"] for s in scored], drawn.stdout.splitlines())
        self.assertTrue(all(s["valid"] and s["log_prob"] < 0 for s in scored))
        for arguments, message in {
            ("generate", "--prefix=y"): "the model cannot serve --prefix='y'",
            ("generate", "x"): "generate takes no 'x'",
            ("invent",): "say what to do: generate or score, not invent",
            (
                "score",
                "x",
                "--model=no",
            ): "answers 404: Servable not found for request: Latest\\(no\\)",
            (
                "score",
                "x",
                "--address=http://localhost:1",
                "--deadline=0.3",
            ): "http://localhost:1 cannot be reached",
        }.items():
            failed = run(*arguments)
            self.assertEqual((failed.returncode, failed.stderr.count("\n")), (1, 1), failed.stderr)
            self.assertRegex(failed.stderr, f"error: .*{message}")


@pytest.mark.slow
class HostileTest(_ServedTest, parameterized.TestCase):
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
        ("extra_key", {"instances": [_row() | {"more": 1}]}, "exactly the keys"),
        ("mixed_rows", {"instances": [_row(), 1]}, "exactly the keys"),
        ("unnamed", {"inputs": [1]}, "must be named"),
        (
            "unknown_input",
            {"inputs": {"seed": [1], "temperature": [1], "prefix": [""], "x": [1]}},
            "no input 'x'",
        ),
        ("missing_input", {"inputs": {"seed": [1]}}, "the signature takes"),
        ("float_seed", {"instances": [_row(seed=1.5)]}, "input seed is not a list of int64"),
        ("text_seed", {"instances": [_row(seed="1")]}, "input seed is not a list of int64"),
        ("null_seed", {"instances": [_row(seed=None)]}, "input seed is not a list of int64"),
        ("large_seed", {"instances": [_row(seed=2**63)]}, "not within int64"),
        ("bool_temperature", {"instances": [_row(temperature=True)]}, "not a list of float32"),
        ("number_prefix", {"instances": [_row(prefix=1)]}, "not a list of string"),
        ("bad_base64", {"instances": [_row(prefix={"b64": "!"})]}, "not a list of string"),
        (
            "ragged",
            {"inputs": {"seed": [1, [2]], "temperature": [1, 1], "prefix": ["", ""]}},
            "not a list of int64",
        ),
        ("wrong_rank", {"instances": [_row(seed=[1])]}, "has shape \\[1, 1\\]"),
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
        ("too_many", {"instances": [_row()] * 65}, "has 65 rows; it may have 1 to 64"),
        ("no_signature", {"signature_name": "no", "instances": [_row()]}, "'no' not found"),
        ("signature_type", {"signature_name": ["x"], "instances": [_row()]}, "must be a string"),
    )
    def test_bad_requests_over_rest(self, body, message):
        response = self.server.post(body)
        self.assertEqual(response.status_code, 400)
        self.assertRegex(response.json()["error"], message)
        self._assert_still_serving()

    def test_unknown_paths_and_methods(self):
        for path, code in {
            "": 404,
            "/v1/models/no": 404,
            "/v1/models/regan/versions/9": 404,
            "/v1/models/regan/versions/x": 400,
        }.items():
            response = requests.get(self.server.rest + path, timeout=30)
            self.assertEqual(response.status_code, code)
            self.assertIn("error", response.json())
        for url in (
            "/v1/models/regan/versions/7:predict",
            "/v1/models/no:predict",
            "/v1/models/regan:classify",
        ):
            self.assertEqual(
                self.server.post({"instances": [_row()]}, self.server.rest + url).status_code, 404
            )
        self.assertEqual(requests.get(f"{self.server.model}:predict", timeout=30).status_code, 405)

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
        signature = _request({}, "s" * 20_000).SerializeToString()
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
                self.server.prediction.Predict(_request({"seed": np.zeros(1_000_000)}))
            self.assertEqual(raised.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertLess(self.server.resident_megabytes(), before + 100)
        self._assert_still_serving()

    def test_slow_and_half_closed_clients_hold_up_no_other(self):
        head = b"POST /v1/models/regan:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        with _connections(self.server.rest_port, 100) as connections:
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
            with _connections(self.server.rest_port, 1) as (connection,):
                connection.settimeout(10)
                connection.sendall(data)
                self.assertRegex(connection.recv(100), rb"HTTP/1.\d 4\d\d")
        self._assert_still_serving()

    @parameterized.named_parameters(
        ("no_inputs", {}, "the signature takes"),
        ("wrong_type", {"tokens": np.zeros([1, _LENGTH])}, "must be int32"),
        ("wrong_rank", {"tokens": np.zeros([_LENGTH], np.int32)}, "has shape"),
        ("wrong_width", {"tokens": np.zeros([1, 2], np.int32)}, "has shape"),
        ("too_many", {"tokens": np.zeros([65, _LENGTH], np.int32)}, "65 rows"),
        ("no_rows", {"tokens": np.zeros([0, _LENGTH], np.int32)}, "0 rows"),
        ("unknown_input", {"x": np.zeros([1, _LENGTH], np.int32)}, "no input 'x'"),
        ("claims_much", {"tokens": ([10**12, _LENGTH], {"int_val": [1]})}, "rows; it may have"),
        ("negative_shape", {"tokens": ([-1, _LENGTH], {"int_val": [1]})}, "has shape"),
        ("short_content", {"tokens": ([1, _LENGTH], {"tensor_content": b"abc"})}, "cannot be read"),
        (
            "long_content",
            {"tokens": ([1, _LENGTH], {"tensor_content": b"abcd" * 7})},
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
            self.server.prediction.Predict(_request(inputs, "score_tokens"))
        self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertRegex(raised.exception.details(), message)
        self._assert_still_serving()

    def test_unknown_model_version_and_signature_over_grpc(self):
        for request, code in (
            (_request({}, model="no"), grpc.StatusCode.NOT_FOUND),
            (_request({}, version=3), grpc.StatusCode.NOT_FOUND),
            (_request({}, "no"), grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with self.assertRaises(grpc.RpcError) as raised:
                self.server.prediction.Predict(request)
            self.assertEqual(raised.exception.code(), code)

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
                self.server.prediction.Predict(_request(inputs))
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT, error)

        ask()
        self._assert_still_serving()


@contextmanager
def _connections(port, count):
    connections = [socket.create_connection(("localhost", port)) for _ in range(count)]
    yield connections
    for connection in connections:
        connection.close()


@pytest.mark.slow
class LifeTest(tf.test.TestCase):
    def test_a_new_version_is_taken_up_without_a_failed_request(self):
        directory = pathlib.Path(self.get_temp_dir()) / "model"
        _publish(directory)
        server = Server(directory)
        stopping, seen = [], []

        def ask():
            session = requests.Session()
            while not stopping:
                response = session.post(
                    f"{server.model}:predict", json={"instances": [_row(7)]}, timeout=30
                )
                self.assertEqual(response.status_code, 200, response.text)
                seen.append(response.json()["predictions"][0]["text"])

        with concurrent.futures.ThreadPoolExecutor(5) as pool:
            clients = [pool.submit(ask) for _ in range(4)]
            (directory / "2").mkdir()  # not a SavedModel: the old version stays
            second = pool.submit(_publish, directory, 1).result()
            self.assertEqual(second.name, "3")
            texts = [
                tf.saved_model.load(str(directory / v)).signatures["generate"] for v in ("1", "3")
            ]
            old, new = (
                f(
                    seed=tf.constant([7], tf.int64),
                    temperature=tf.ones(1),
                    prefix=tf.constant([""]),
                )["text"][0]
                .numpy()
                .decode()
                for f in texts
            )
            deadline = time.monotonic() + 300
            while seen[-1] != new and time.monotonic() < deadline:
                time.sleep(0.1)
            stopping.append(True)
            for client in clients:
                client.result()
        self.assertCountEqual(set(seen), {old, new})
        states = requests.get(server.model, timeout=30).json()["model_version_status"]
        self.assertEqual(
            [(s["version"], s["state"]) for s in states],
            [("3", "AVAILABLE"), ("2", "END"), ("1", "END")],
        )
        self.assertNotEqual(states[1]["status"]["error_message"], "")
        self._assert_requests_under_way_are_answered_before_it_stops(server)

    def _assert_requests_under_way_are_answered_before_it_stops(self, server):
        body = json.dumps({"instances": [_row(seed) for seed in range(1000)]}).encode()
        head = "POST /v1/models/regan:predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        head += "Expect: 100-continue\r\n"
        head = (
            f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        with (
            _connections(server.rest_port, 8) as connections,
            concurrent.futures.ThreadPoolExecutor(8) as pool,
        ):
            for connection in connections:
                connection.settimeout(120)
                connection.sendall(head)
            for connection in connections:  # once it asks for the body, the request is under way
                self.assertIn(b"100 Continue", connection.recv(100))
            for connection in connections:
                connection.sendall(body)
            answers = [
                pool.submit(lambda c=connection: c.makefile("rb").read())
                for connection in connections
            ]
            self.assertEqual(server.stop()[0], 0)
            for answer in answers:
                self.assertEqual(answer.result()[:15], b"HTTP/1.1 200 OK")

    def test_the_client_waits_for_a_server_that_is_starting_and_speaks_in_words(self):
        directory = pathlib.Path(self.get_temp_dir()) / "model"
        generator, _ = problems.networks(3, 6, 5, spread=0.7, end_token=0)
        vocabulary = Vocabulary(("<end>", "<unk>", "a", "cat", "sat", "naïve"), " ", 0, 1)
        publishing.publish(generator, None, vocabulary, directory)
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            port = probe.getsockname()[1]
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            rows = pool.submit(
                Client(f"http://localhost:{port}", deadline=300).generate, 20, prefix="a naïve"
            )
            server = Server(directory, f"--rest_port={port}")
            texts = rows.result()["text"].tolist()
        self.assertTrue(all(text == "a naïve" or text.startswith("a naïve ") for text in texts))
        self.assertGreater(len({len(text.split()) for text in texts}), 1)
        with Client(server.grpc) as client:
            self.assertEqual(client.generate(20, prefix="a naïve")["text"].tolist(), texts)
            scored = ["a cat sat", "", "a dog", "a a a a a a"]
            scores = client.score(scored)
        self.assertAllEqual(scores["valid"], [True, True, True, False])
        exact = tf.reduce_sum(generator.log_prob(vocabulary.encode(scored[:3], 5)), axis=1)
        self.assertAllClose(scores["log_prob"][:3], exact, rtol=1e-4)
        self.assertEqual(server.stop()[0], 0)

    def test_bad_flags(self):
        command = [sys.executable, "-m", "regan_tf.serve"]
        (pathlib.Path(self.get_temp_dir()) / "broken/1").mkdir(parents=True)
        broken = f"{self.get_temp_dir()}/broken"
        for flags, message in (
            (["--model_dir=/nowhere"], "--model_dir=/nowhere holds no version"),
            ([f"--model_dir={broken}"], f"no version in {broken} can be loaded"),
        ):
            result = subprocess.run([*command, *flags], capture_output=True, text=True, check=False)
            self.assertEqual(result.returncode, 1)
            self.assertIn(f"error: {message}", result.stderr)


class KitTest(tf.test.TestCase):
    """The files of export/, read as the messages that TF Serving reads them as."""

    def test_models(self):
        config = text_format.Parse(
            _kit("models.config"), model_server_config_pb2.ModelServerConfig()
        )
        (model,) = config.model_config_list.config
        self.assertEqual(
            (model.name, model.base_path, model.model_platform),
            ("regan", "/models/regan-rebar-3", "tensorflow"),
        )

    def test_batching_and_monitoring(self):
        # These two messages are in no package: their fields, as TF Serving's .proto files have
        # them.
        number, flag, text = ("Number", {"value": "TYPE_INT64"}), "TYPE_BOOL", "TYPE_STRING"
        messages = dict(
            [
                number,
                ("Prometheus", {"enable": flag, "path": text}),
                ("Monitoring", {"prometheus_config": "Prometheus"}),
            ]
        )
        names = (
            "max_batch_size",
            "batch_timeout_micros",
            "max_enqueued_batches",
            "num_batch_threads",
        )
        messages["Batching"] = dict.fromkeys(names, "Number")
        batching = text_format.Parse(
            _kit("batching_parameters.txt"), _message(messages, "Batching")
        )
        self.assertEqual(batching.max_batch_size.value, 1024)
        monitoring = text_format.Parse(_kit("monitoring.config"), _message(messages, "Monitoring"))
        self.assertTrue(monitoring.prometheus_config.enable)


def _kit(name):
    return (pathlib.Path(__file__).parents[2] / "export" / name).read_text()


def _message(messages, wanted):
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{wanted}.proto", package=wanted, syntax="proto3"
    )
    for message, fields in messages.items():
        made = file.message_type.add(name=message)
        for i, (name, kind) in enumerate(fields.items(), 1):
            field = made.field.add(
                name=name, number=i, label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
            )
            if kind.startswith("TYPE_"):
                field.type = getattr(descriptor_pb2.FieldDescriptorProto, kind)
            else:
                field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
                field.type_name = f".{wanted}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{wanted}.{wanted}"))()
