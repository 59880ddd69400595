"""The loads on a server: what good and hostile clients send, and what is counted."""

import asyncio
import contextlib
import itertools
import json
import time
from unittest import mock

import tensorflow as tf
from aiohttp import web

from regan_tf.studies import server_load


@contextlib.asynccontextmanager
async def _answering(handler):
    app = web.Application(client_max_size=2**30)
    app.router.add_post("/m:predict", handler)
    runner = web.AppRunner(app, auto_decompress=False, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/m:predict"
    await runner.cleanup()


def _counting():
    """Lets the load's time be a number of looks at it."""
    clock = mock.Mock(monotonic=mock.Mock(side_effect=itertools.count()))
    return mock.patch.object(server_load, "time", clock)


class LoadTest(tf.test.TestCase):
    def test_clients_ask_at_once_for_rows_of_their_own(self):
        seeds = []

        async def answer(request):
            (row,) = (await request.json())["instances"]
            seeds.append(row["seed"])
            return web.Response(status=503 if row["seed"] == 1 else 200)

        async def run():
            async with _answering(answer) as url:
                return await server_load.ask(url, 3, time.monotonic() + 0.3)

        milliseconds, statuses = asyncio.run(run())
        self.assertLen(set(seeds), len(seeds))
        self.assertContainsSubset({0, 1, 2}, seeds)
        self.assertEqual(statuses, {503: 1, 200: len(seeds) - 1})
        self.assertLen(milliseconds, len(seeds))
        self.assertGreater(min(milliseconds), 0)

    def test_hostile_clients_send_every_kind_and_their_answers_are_counted(self):
        bodies = []

        async def refuse(request):
            bodies.append(await request.read())
            return web.Response(status=500)

        async def run():
            async with _answering(refuse) as url:
                return await server_load.attack(url, 50, end=14)

        with mock.patch.object(server_load, "_STAY_SECONDS", 2), _counting():
            statuses = asyncio.run(run())
        self.assertContainsSubset(
            [server_load._bomb(), server_load._LISTS, server_load._DEEP], bodies
        )
        self.assertGreaterEqual(statuses[500], 6)  # and if they are quick, those who leave
        self.assertEqual(statuses[400], 2)  # of noise
        self.assertLen(json.loads(server_load._ROWS)["instances"], 1000)

    def test_a_server_that_is_gone_is_counted(self):
        with _counting():
            statuses = asyncio.run(server_load.attack("http://127.0.0.1:9/m:predict", 50, end=7))
        self.assertEqual(statuses, {None: 7})


if __name__ == "__main__":
    tf.test.main()
