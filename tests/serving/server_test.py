"""The local server's life: new versions, the end, bad flags."""

import asyncio
import concurrent.futures
import contextlib
import json
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest
import requests
import tensorflow as tf

from regan_tf.serving import publishing
from regan_tf.serving.client import Client
from regan_tf.studies import server_load
from regan_tf.tasks.text import Vocabulary
from tests import problems
from tests.serving.served import Server, connections_to, publish, served_row

pytestmark = pytest.mark.slow


class LifeTest(tf.test.TestCase):
    def test_a_new_version_is_taken_up_without_a_failed_request(self):
        directory = pathlib.Path(self.get_temp_dir()) / "model"
        publish(directory)
        server = Server(directory)
        stopping, seen = [], []

        def ask():
            session = requests.Session()
            while not stopping:
                response = session.post(
                    f"{server.model}:predict", json={"instances": [served_row(7)]}, timeout=30
                )
                self.assertEqual(response.status_code, 200, response.text)
                seen.append(response.json()["predictions"][0]["text"])

        with concurrent.futures.ThreadPoolExecutor(5) as pool:
            clients = [pool.submit(ask) for _ in range(4)]
            (directory / "2").mkdir()  # not a SavedModel: the old version stays
            second = pool.submit(publish, directory, 1).result()
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
        body = json.dumps({"instances": [served_row(seed) for seed in range(1000)]}).encode()
        head = "POST /v1/models/regan:predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        head += "Expect: 100-continue\r\n"
        head = (
            f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        with (
            connections_to(server.rest_port, 8) as connections,
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

    def test_sigterm_under_load_answers_what_it_took(self):
        directory = pathlib.Path(self.get_temp_dir()) / "loaded"
        publish(directory)
        server, answers = Server(directory), []

        async def run():
            clients = [
                asyncio.create_task(_ask_until_it_stops(server.rest_port, size, answers))
                for size in (1, 1, 1, 300) * 8
            ]
            end = time.monotonic() + 60
            hostile = asyncio.create_task(server_load.attack(f"{server.model}:predict", 20, end))
            await asyncio.sleep(2)
            before = len(answers)
            stopped = await asyncio.to_thread(server.stop, signal.SIGTERM)
            await asyncio.gather(*clients)
            hostile.cancel()
            return stopped, answers[:before], answers[before:]

        started = time.monotonic()
        (code, output), before, after = asyncio.run(run())
        self.assertLess(time.monotonic() - started, 60)
        self.assertEqual((code, output.splitlines()[-1]), (0, "stopped"))
        self.assertNotEmpty(before)
        self.assertNotEmpty(after)
        for answer in answers:
            head, _, body = answer.partition(b"\r\n\r\n")
            self.assertRegex(head, rb"^HTTP/1.1 (200 OK|503 )")
            self.assertIn(b"Content-Length: %d\r\n" % len(body), head + b"\r\n")
            json.loads(body)

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
            ([f"--model_dir={broken}", "--host="], "--host= is not allowed"),
            ([f"--model_dir={broken}"], f"no version in {broken} can be loaded"),
        ):
            result = subprocess.run([*command, *flags], capture_output=True, text=True, check=False)
            self.assertEqual(result.returncode, 1)
            self.assertIn(f"error: {message}", result.stderr)


async def _ask_until_it_stops(port, rows, answers):
    """Asks one request after the other; adds the answer, as far as it came, to every one that the
    server took: it asked for its body.
    """
    body = json.dumps({"instances": [served_row(seed) for seed in range(rows)]}).encode()
    head = f"POST /v1/models/regan:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    head += "Expect: 100-continue\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(ConnectionError):
        while True:
            reader, writer = await asyncio.open_connection("localhost", port)
            with contextlib.closing(writer):
                writer.write(head.encode())
                if not await reader.readline() + await reader.readline():
                    return
                writer.write(body)
                answers.append(await _read(reader))


async def _read(reader):
    try:
        return await reader.read()
    except ConnectionError as error:
        return repr(error).encode()


if __name__ == "__main__":
    tf.test.main()
