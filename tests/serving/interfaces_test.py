"""What a served model answers, over REST and gRPC, and to the client."""

import asyncio
import concurrent.futures
import json
import subprocess
import sys

import numpy as np
import pytest
import requests
import tensorflow as tf
from absl.testing import parameterized
from google.protobuf import any_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
)

from regan_tf.config import UserError
from regan_tf.serving import server as local_server
from regan_tf.serving.client import Client, ServingError
from regan_tf.serving.model import Model
from regan_tf.serving.refusals import Limits
from tests.serving.served import LENGTH, ServedTest, predict_request, served_row

pytestmark = pytest.mark.slow


class InterfaceTest(ServedTest, parameterized.TestCase):
    def test_rows_and_columns_over_rest(self):
        expected = self._expected([3, 4], 0.5, "x+")
        rows = self.server.post(
            {"instances": [served_row(3, 0.5, "x+"), served_row(4, 0.5, "x+")]}
        ).json()["predictions"]
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
        response = self.server.prediction.Predict(predict_request(inputs))
        self.assertEqual(
            (response.model_spec.name, response.model_spec.version.value), ("regan", 1)
        )
        self.assertEqual(response.model_spec.signature_name, "serving_default")
        fields = {
            "tokens": "int_val",
            "text": "string_val",
            "token_log_probs": "float_val",
            "log_prob": "float_val",
            "valid": "bool_val",
        }
        for name, value in self._expected([3, 4], 0.5, "x+").items():
            output = response.outputs[name]
            self._assert_same(tf.make_ndarray(output), value)
            # Some clients read these fields alone.
            self._assert_same(getattr(output, fields[name]), value.ravel())
            self.assertEmpty(output.tensor_content)
        filtered = self.server.prediction.Predict(
            predict_request(inputs, version=1, output_filter=["text"])
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
            rows = [served_row(seed) for seed in range(client * 10, client * 10 + 10)]
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
                all(text.startswith("x+") and len(text) == LENGTH for text in rows["text"])
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


if __name__ == "__main__":
    tf.test.main()
