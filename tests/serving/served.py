"""A server in a process of its own, and requests to it."""

import asyncio
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager

import grpc
import numpy as np
import requests
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from regan_tf.serving import publishing
from regan_tf.studies import processes
from regan_tf.tasks.grammar import VOCABULARY
from tests import problems

LENGTH = 6


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
        return processes.resident(self.process.pid)

    def stop(self, number=signal.SIGINT):
        """Ends it as Ctrl-C does; returns its exit code and what else it printed."""
        self.channel.close()
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=120)
        return self.process.returncode, output


def publish(directory, seed=0):
    generator, discriminator = problems.networks(seed, 5, LENGTH, spread=0.7)
    return publishing.publish(generator, discriminator, VOCABULARY, directory)


def served_row(seed=1, temperature=1.0, prefix=""):
    return {"seed": seed, "temperature": temperature, "prefix": prefix}


def predict_request(inputs, signature="", model="regan", version=None, **kwargs):
    request = predict_pb2.PredictRequest(**kwargs)
    request.model_spec.name, request.model_spec.signature_name = model, signature
    if version is not None:
        request.model_spec.version.value = version
    for name, value in inputs.items():
        is_proto = isinstance(value, tensor_pb2.TensorProto)
        request.inputs[name].CopyFrom(value if is_proto else tf.make_tensor_proto(value))
    return request


def endless(began, ended):
    """A model's predict that ends only when it is cancelled, and the asyncio.Events of both."""

    async def predict(signature, inputs):
        began.set()
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()

    return predict


class ServedTest(tf.test.TestCase):
    """One server for all tests of a class."""

    flags = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.directory = (
            pathlib.Path(tf.compat.v1.test.get_temp_dir()) / f"{cls.__name__}-{os.getpid()}"
        )
        cls.path = publish(cls.directory)
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
        response = self.server.post({"instances": [served_row(5)]})
        self.assertEqual(response.status_code, 200, response.text)
        self.assertEqual(
            response.json()["predictions"][0]["text"], self._expected([5])["text"][0].decode()
        )


@contextmanager
def connections_to(port, count):
    connections = [socket.create_connection(("localhost", port)) for _ in range(count)]
    yield connections
    for connection in connections:
        connection.close()
