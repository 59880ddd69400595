"""What connections may take of a server: their number is bounded, and idle ones end."""

import asyncio
import contextlib
import logging
import resource
import time

from aiohttp import web

REQUEST_SECONDS = 10  # a client that has not sent a request by then is slow, or means harm
# A connection that asks for nothing, is slow to say what, or does not read its answer, is closed.
IDLE_SECONDS = 60
_MOST = 1024  # at once, if there are descriptors for them
_SILENCE_SECONDS = 10  # between two lines of a log that say the same


def most():
    """How many connections each interface may have: a quarter of the descriptors there can be."""
    with contextlib.suppress(OSError, ValueError):  # as many as we are allowed
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST if descriptors == resource.RLIM_INFINITY else min(_MOST, descriptors // 4)


class Connections:
    """A factory of an aiohttp server's connections that keeps their number bounded.

    Beyond the bound the oldest one without a whole request makes room: it is idle, or slow. Where
    all have one, the new connection is closed.

    Args:
      server: the aiohttp.web.Server.
      under_way: the connections whose requests are whole and not answered.
      bound: how many there may be.
    """

    def __init__(self, server, under_way, bound):
        self._server, self._under_way, self._bound = server, under_way, bound

    def __call__(self):
        """The protocol of one more connection."""
        connections = self._server.connections
        if len(connections) >= self._bound:
            waiting = [c for c in connections if c not in self._under_way]
            if not waiting:
                return _Closing()
            # Those accepted together are only counted later: so all beyond the bound go.
            for connection in waiting[: len(connections) - self._bound + 1]:
                connection.force_close()
        return self._server()


class _Closing(asyncio.Protocol):
    def connection_made(self, transport):
        transport.abort()


class Answers:
    """Writes the answers of an aiohttp server, so that it knows of each request, from its head to
    the end of its answer, when it is to end.
    """

    def __init__(self):
        self._under_way, self._ends = 0, False

    @web.middleware
    async def written(self, request, handler):
        """The outermost middleware. A client that does not read its answer is cut off."""
        self._under_way += 1
        try:
            response = await handler(request)
            if self._ends:
                response.force_close()
            async with asyncio.timeout(IDLE_SECONDS):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            if request.transport:
                request.transport.abort()
            raise ConnectionError("the answer is not read") from None
        finally:
            self._under_way -= 1
        return response

    async def end(self, seconds):
        """Waits for all of them, so many seconds at most; a connection has no other after it."""
        self._ends = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._under_way:
                    await asyncio.sleep(0.02)


class Sparing(logging.Filter):
    """Lets one line of each kind pass every ten seconds: what goes wrong for every client must not
    fill a disk.
    """

    def __init__(self):
        super().__init__()
        self._last = {}

    def filter(self, record):
        """Whether to log the record."""
        kind, now = (record.pathname, record.lineno), time.monotonic()
        if now - self._last.get(kind, -_SILENCE_SECONDS) < _SILENCE_SECONDS:
            return False
        self._last[kind] = now
        return True
