"""The REST interface in this process: its JSON, and what runs beside its event loop."""

import asyncio
import contextlib
import gzip
import json
import logging
import threading
import tracemalloc
import types
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from aiohttp import ClientSession, web

from regan_tf.config import UserError
from regan_tf.serving import connections, rest, rest_json, server
from regan_tf.serving.refusals import Limits, RejectedError, busy
from tests.serving.served import endless

_LIMITS = Limits(batch_rows=8, body_bytes=2**20)


class _Servable:
    limits = _LIMITS

    def spec(self, signature):
        kinds = {"x": tf.TensorSpec([None], tf.int64), "y": tf.TensorSpec([None, 2], tf.float32)}
        return {"": kinds, "any": {"z": tf.TensorSpec(None, tf.float32)}}[signature]

    async def predict(self, signature, inputs):
        return {"sum": inputs["x"] + inputs["y"].sum(axis=1)}


def _servable(predict):
    """One whose predictions are another function's."""
    return types.SimpleNamespace(limits=_LIMITS, spec=_Servable().spec, predict=predict)


class _Model:
    name = "regan"

    def __init__(self, servable=None):
        self._servable = servable or _Servable()

    def find(self, name, version=None):
        return self._servable


def _body(**kwargs):
    return json.dumps(kwargs).encode()


_GOOD = _body(inputs={"x": [1], "y": [[2, 3]]})


class StartTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters("192.0.2.1", "é" * 80, "x" * 300)
    def test_an_address_that_is_none_of_ours_is_named(self, host):
        with self.assertRaisesRegex(UserError, f"--rest_port=0 of --host={host} cannot be used: "):
            asyncio.run(server._start_rest([], _Model(), _LIMITS, host, 0, 8))


class JsonTest(tf.test.TestCase, parameterized.TestCase):
    def test_arrays(self):
        body = _body(inputs={"x": [1, 2], "y": [[1, 2.5], [3, 4]], "more": 1})
        signature, inputs, by_row = rest_json.parsed(body, False, _Servable())
        self.assertEqual((signature, by_row), ("", False))
        self.assertCountEqual(inputs, ["x", "y"])  # TF Serving passes over other keys, too
        self.assertAllEqual(inputs["x"], [1, 2])
        self.assertAllEqual(inputs["y"], [[1, 2.5], [3, 4]])
        self.assertEqual((inputs["x"].dtype, inputs["y"].dtype), (np.int64, np.float32))

    @parameterized.parameters(1, 2, 16)
    def test_an_input_of_any_rank(self, rank):
        body = _body(signature_name="any", inputs=np.ones([1] * rank).tolist())
        self.assertAllEqual(
            rest_json.parsed(body, False, _Servable()).inputs["z"], np.ones([1] * rank)
        )

    @parameterized.parameters(
        ({"x": [1], "y": [[1, 2], [3]]}, "y is not a list of float32"),
        ({"x": [1], "y": [[1, [2]]]}, "y is not a list of float32"),
        ({"x": [1], "y": [1, 2]}, "y is not a list of float32"),
        ({"x": 1, "y": [[1, 2]]}, "x is not a list of int64"),
        ({"x": [0] * 9, "y": [[1, 2]]}, "the request has 9 rows; it may have 1 to 8"),
        ({"x": [0], "y": [[10**400, 2]]}, "y has a value that is not within float32"),
    )
    def test_what_is_no_array_is_refused(self, inputs, message):
        with self.assertRaisesRegex(RejectedError, message):
            rest_json.parsed(_body(inputs=inputs), False, _Servable())

    @parameterized.parameters(17, 33, 65, 900)
    def test_deep_nesting_is_refused(self, depth):
        nested = f'{{"signature_name": "any", "inputs": {"[" * depth}1{"]" * depth}}}'
        with self.assertRaisesRegex(RejectedError, "z is not a list of float32"):
            rest_json.parsed(nested.encode(), False, _Servable())

    def test_texts_of_any_rank(self):
        texts = np.array([[b"a", b"\xc3\xa9"], [b"\xff", b""]], object)
        found = json.loads(rest_json.answer({"x": texts, "x_bytes": texts[:, 0]}, True))
        self.assertEqual(
            found["predictions"],
            [
                {"x": ["a", "é"], "x_bytes": {"b64": "YQ=="}},
                {"x": ["\ufffd", ""], "x_bytes": {"b64": "/w=="}},
            ],
        )

    def test_gzip_is_inflated_up_to_the_bound(self):
        self.assertAllEqual(
            rest_json.parsed(gzip.compress(_GOOD), True, _Servable()).inputs["x"], [1]
        )
        bomb = gzip.compress(b" " * 50_000_000)
        tracemalloc.start()
        with self.assertRaises(web.HTTPRequestEntityTooLarge):
            rest_json.parsed(bomb, True, _Servable())
        self.assertLess(tracemalloc.get_traced_memory()[1], 4 * _LIMITS.body_bytes)
        tracemalloc.stop()
        for bad in (b"hello", gzip.compress(_GOOD)[:-9]):
            with self.assertRaisesRegex(RejectedError, "the body cannot be read"):
                rest_json.parsed(bad, True, _Servable())


class ApplicationTest(tf.test.TestCase):
    def _ask(self, *requests, servable=None):
        """Statuses, headers and texts of requests to an application, one after the other."""

        async def run():
            answers = []
            async with _listening(_Model(servable), most=8) as port, ClientSession() as session:
                for method, path, kwargs in requests:
                    url = f"http://127.0.0.1:{port}{path}"
                    async with session.request(method, url, **kwargs) as response:
                        answers.append((response.status, response.headers, await response.text()))
            return answers

        return asyncio.run(run())

    def test_large_and_compressed_bodies_are_parsed_beside_the_event_loop(self):
        threads = []

        def parsed(*arguments):
            threads.append(threading.current_thread().name.split("_")[0])
            return rest_json_parsed(*arguments)

        rest_json_parsed, path = rest_json.parsed, "/v1/models/m:predict"
        bodies = [{"data": _GOOD}, {"data": _GOOD + b" " * 20_000}]
        bodies.append({"data": gzip.compress(_GOOD), "headers": {"Content-Encoding": "gzip"}})
        with mock.patch.object(rest_json, "parsed", parsed):
            answers = self._ask(*(("POST", path, body) for body in bodies))
        for status, _, text in answers:
            self.assertEqual((status, json.loads(text)), (200, {"outputs": [6.0]}))
        self.assertEqual(threads, ["MainThread", "json", "json"])

    def test_other_encodings_are_refused(self):
        ((status, _, text),) = self._ask(
            ("POST", "/v1/models/m:predict", {"data": b"x", "headers": {"Content-Encoding": "br"}})
        )
        self.assertEqual(status, 415)
        self.assertIn("br is not gzip", text)

    def test_who_is_shed_is_told_to_come_back(self):
        async def predict(signature, inputs):
            raise busy("too many requests are waiting")

        shedding = _servable(predict)
        ((status, headers, text),) = self._ask(
            ("POST", "/v1/models/m:predict", {"data": _GOOD}), servable=shedding
        )
        self.assertEqual((status, headers["Retry-After"]), (503, "1"))
        self.assertIn("too many requests are waiting", text)

    def test_a_request_whose_client_leaves_is_cancelled(self):
        async def run():
            began, ended = asyncio.Event(), asyncio.Event()

            slow = _servable(endless(began, ended))
            async with _listening(_Model(slow), most=8) as port:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(_request(_GOOD))
                await began.wait()
                writer.transport.abort()
                await asyncio.wait_for(ended.wait(), rest._ANSWER_SECONDS / 2)

        asyncio.run(run())


def _request(body):
    head = f"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _listening:  # noqa: N801
    """The REST interface as the server starts it; entered, it gives its port."""

    def __init__(self, model, most):
        self._model, self._most = model, most

    async def __aenter__(self):
        ends = []
        port = await server._start_rest(ends, self._model, _LIMITS, "127.0.0.1", 0, self._most)
        (self.end,) = ends
        return port

    async def __aexit__(self, *error):
        await self.end()


class ConnectionsTest(tf.test.TestCase):
    def test_the_oldest_that_is_not_under_way_makes_room(self):
        async def run():
            began, go = asyncio.Semaphore(0), asyncio.Event()

            async def predict(signature, inputs):
                began.release()
                await go.wait()
                return {"y": inputs["x"]}

            held, writers = _servable(predict), []
            async with _listening(_Model(held), most=3) as port:

                async def connect(data):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(data)
                    writers.append(writer)
                    if data == whole:
                        await began.acquire()
                    return reader

                whole = _request(_GOOD)
                slow, idle = await connect(whole[:-1]), await connect(b"")
                working = [await connect(whole), await connect(whole)]
                self.assertEqual(await slow.read(), b"")
                working.append(await connect(whole))
                self.assertEqual(await idle.read(), b"")
                refused = await connect(b"")  # for all have whole requests
                with contextlib.suppress(ConnectionError):
                    self.assertEqual(await refused.read(), b"")
                go.set()
                for reader in working:
                    self.assertIn(b"200 OK", await reader.readline())

        asyncio.run(run())

    def test_idle_connections_are_closed(self):
        async def run():
            with mock.patch.object(connections, "IDLE_SECONDS", 0.05):
                async with _listening(_Model(), most=8) as port:
                    for data in (b"", b"POST /v1"):
                        reader, writer = await asyncio.open_connection("127.0.0.1", port)
                        writer.write(data)
                        self.assertEqual(await asyncio.wait_for(reader.read(), 60), b"")

        asyncio.run(run())

    def test_bodies_that_do_not_come_keep_no_large_one_waiting(self):
        async def run():
            with mock.patch.object(connections, "REQUEST_SECONDS", 600):
                async with _listening(_Model(), most=200) as port:
                    large = _GOOD + b" " * 30_000
                    slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
                    for _, writer in slow:
                        writer.write(_request(large)[:200])
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(_request(large))
                    self.assertIn(b"200 OK", await asyncio.wait_for(reader.readline(), 60))
                    for _, writer in slow:
                        writer.transport.abort()

        asyncio.run(run())

    def test_bodies_in_memory_are_bounded(self):
        async def run():
            with mock.patch.object(rest, "_BODIES", 0.5):
                async with _listening(_Model(), most=8) as port, ClientSession() as session:
                    url = f"http://127.0.0.1:{port}/v1/models/m:predict"
                    for size, status in ((400_000, 200), (700_000, 503), (400_000, 200)) * 2:
                        async with session.post(url, data=_GOOD + b" " * size) as response:
                            self.assertEqual(response.status, status)

        asyncio.run(run())

    def test_small_bodies_pass_large_ones_that_stall(self):
        async def run():
            with mock.patch.object(rest, "_BODIES", 0.5):
                async with _listening(_Model(), most=8) as port, ClientSession() as session:
                    room = rest._BODIES * _LIMITS.body_bytes
                    whole = _request(_GOOD + b" " * (_LIMITS.body_bytes - len(_GOOD)))
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(whole[: int(room)])
                    await writer.drain()
                    await asyncio.sleep(0.2)
                    url = f"http://127.0.0.1:{port}/v1/models/m:predict"
                    for size, status in ((0, 200), (400_000, 503)):
                        async with session.post(url, data=_GOOD + b" " * size) as response:
                            self.assertEqual(response.status, status)
                    writer.transport.abort()

        asyncio.run(run())

    def test_who_does_not_read_the_answer_is_cut_off(self):
        async def predict(signature, inputs):
            return {"y": np.array([b"x" * 30_000_000], object)}  # more than sockets hold

        async def run():
            with mock.patch.object(connections, "IDLE_SECONDS", 0.2):
                async with _listening(_Model(_servable(predict)), most=8) as port:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
                    writer.write(_request(_GOOD))
                    self.assertIn(b"200 OK", await reader.readline())
                    await asyncio.sleep(1)
                    found = 0
                    with contextlib.suppress(ConnectionError):
                        while part := await asyncio.wait_for(reader.read(2**20), 60):
                            found += len(part)
                    self.assertLess(found, 30_000_000)

        asyncio.run(run())

    def test_a_server_that_ends_answers_what_it_has_begun(self):
        async def run():
            listening = _listening(_Model(), most=8)
            async with listening as port:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                head = _request(_GOOD).replace(b"Host", b"Expect: 100-continue\r\nHost")
                writer.write(head[: -len(_GOOD)])
                self.assertIn(b"100 Continue", await reader.readline())
                ending = asyncio.create_task(listening.end())
                await asyncio.sleep(0.1)
                with self.assertRaises(ConnectionError):
                    await asyncio.open_connection("127.0.0.1", port)
                writer.write(_GOOD)
                answer = await asyncio.wait_for(reader.read(), 60)
                self.assertContainsInOrder(["200 OK", "Connection: close", "6.0"], answer.decode())
                await ending

        asyncio.run(run())

    def test_a_log_says_the_same_once(self):
        said, sparing = [], connections.Sparing()
        for line in (1, 1, 2, 1):
            record = logging.LogRecord("x", 40, "file", line, "text", (), None)
            said.append(sparing.filter(record))
        self.assertEqual(said, [True, False, True, False])
        with mock.patch.object(connections.time, "monotonic", return_value=float("inf")):
            self.assertTrue(sparing.filter(record))


if __name__ == "__main__":
    tf.test.main()
