"""Loads on a server's REST interface: clients that ask for a row at a time, and hostile ones."""

import asyncio
import collections
import contextlib
import functools
import gzip
import itertools
import json
import os
import re
import time
from urllib.parse import urlsplit

import aiohttp

_STAY_SECONDS = 8  # of a hostile connection, which is less than it may
_LISTS = b'{"inputs": {"seed": [' + b"[0]," * 250_000 + b"1]}}"
_DEEP = b"[" * 50_000
_ROWS = json.dumps(
    {"instances": [{"seed": i, "temperature": 1.0, "prefix": ""} for i in range(1000)]}
).encode()


async def ask(url, clients, end):
    """Clients at once, each over a connection of its own, one row a request.

    Args:
      url: ends in :predict.
      clients: how many.
      end: of time.monotonic.
    Returns:
      Milliseconds of every answer, and a Counter of their statuses; None counts those that never
      came.
    """
    milliseconds, statuses = [], collections.Counter()

    async def client(session, seed):
        while time.monotonic() < end:
            body = json.dumps({"instances": [{"seed": seed, "temperature": 1.0, "prefix": ""}]})
            start = time.perf_counter()
            statuses[await _status(session, url, body)] += 1
            milliseconds.append(1000 * (time.perf_counter() - start))
            seed += clients

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(session, seed) for seed in range(clients)))
    return milliseconds, statuses


async def attack(url, rate, end):
    """Hostile requests, of seven kinds in turn: a gzip bomb, many lists, deep lists, 1,000 rows
    whose client leaves at once, a body that never ends, silence, noise.

    Args:
      url: as above.
      rate: how many begin in a second.
      end: as above.
    Returns:
      A Counter of the statuses of those that are answered; None counts those whose connection the
      server closed.
    """
    statuses = collections.Counter()
    kinds = itertools.cycle(
        [
            lambda: _answered(url, statuses, _bomb(), {"Content-Encoding": "gzip"}),
            lambda: _answered(url, statuses, _LISTS),
            lambda: _answered(url, statuses, _DEEP),
            lambda: _leaving(url, statuses, _head(url, len(_ROWS)) + _ROWS, 0.01),
            lambda: _leaving(url, statuses, _head(url, 1000) + b"{", _STAY_SECONDS),
            lambda: _leaving(url, statuses, b"", _STAY_SECONDS),
            lambda: _leaving(url, statuses, os.urandom(100) + b"\r\n", _STAY_SECONDS),
        ]
    )
    async with asyncio.TaskGroup() as tasks:
        while rate and time.monotonic() < end:
            tasks.create_task(next(kinds)())
            await asyncio.sleep(1 / rate)
    return statuses


async def _answered(url, statuses, body, headers=None):
    async with aiohttp.ClientSession() as session:
        statuses[await _status(session, url, body, headers)] += 1


async def _status(session, url, body, headers=None):
    """Of the answer; None where the connection broke."""
    try:
        async with session.post(url, data=body, headers=headers) as response:
            await response.read()
            return response.status
    except (aiohttp.ClientError, OSError):
        return None


@functools.cache
def _bomb():
    """102 KB."""
    return gzip.compress(b" " * 105_000_000)


async def _leaving(url, statuses, data, seconds):
    """Sends data to the server and aborts the connection after a while, or once it is answered."""
    place = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
    except OSError:
        statuses[None] += 1
        return
    writer.write(data)
    with contextlib.suppress(TimeoutError, OSError):
        answer = await asyncio.wait_for(reader.read(100), seconds)
        status = re.match(rb"HTTP/1\.\d (\d+)", answer)
        statuses[int(status[1]) if status else None] += 1
    writer.transport.abort()


def _head(url, length):
    lines = [f"POST {urlsplit(url).path} HTTP/1.1", "Host: x", f"Content-Length: {length}", "", ""]
    return "\r\n".join(lines).encode()
