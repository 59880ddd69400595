"""What connections may take of a server: their number is bounded, and idle ones end."""

import asyncio
import contextlib
import logging
import resource
import time

REQUEST_SECONDS = 10  # a client that has not sent a request by then is slow, or means harm
IDLE_SECONDS = 60  # a connection that asks for nothing, or is slow to say what, is closed
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
