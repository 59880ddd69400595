"""The local server: both interfaces of TF Serving on one event loop."""

import asyncio
import gc
import logging
import signal

from aiohttp import web

from regan_tf.config import UserError
from regan_tf.serving import connections, grpc_api, rest

_GRACE_SECONDS = 10  # for requests under way when the server is stopped
_LAST_SECONDS = 1  # for those that are cancelled then


async def run(model, limits, host, rest_port, grpc_port, poll_seconds, announce):
    """Serves a Model until SIGINT or SIGTERM; requests under way are answered first, even those
    whose body is still to come.

    Args:
      model, limits: what to serve, and the Limits of requests.
      host, rest_port, grpc_port: where; port 0 takes a free one.
      poll_seconds: between looks for a new version.
      announce: called with (rest_port, grpc_port) once clients are welcome.
    Raises:
      UserError: there is no version that can be loaded, or a port is taken.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await model.refresh()
    if not model.available:
        raise UserError(f"no version in {model.directory} can be loaded")
    _prepare_for_load()
    most = connections.most()
    ends = []
    try:
        ports = (
            await _start_rest(ends, model, limits, host, rest_port, most),
            await _start_grpc(ends, model, limits, host, grpc_port, most),
        )
        watcher = asyncio.create_task(model.watch(poll_seconds))
        announce(*ports)
        await stop.wait()
        watcher.cancel()
    finally:
        await asyncio.gather(*(end() for end in ends))


def _prepare_for_load():
    for handler in logging.getLogger().handlers:
        handler.addFilter(connections.Sparing())
    # A body may become a million objects. Python would look through all of them, and all of
    # TensorFlow's, every few hundred.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)


async def _start_rest(ends, model, limits, host, port, most):
    """Returns the port; adds a function that ends it to `ends`."""
    # What clients do wrong is told to them alone.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    under_way, answers = set(), connections.Answers()
    runner = web.AppRunner(
        rest.application(model, limits, under_way, answers),
        access_log=None,
        auto_decompress=False,  # of any size, on the event loop
        handler_cancellation=True,  # the batcher forgets a client that has left
        keepalive_timeout=connections.IDLE_SECONDS,  # from the start, since aiohttp 3.14.5
        shutdown_timeout=_LAST_SECONDS,
    )
    await runner.setup()
    factory = connections.Connections(runner.server, under_way, most)
    try:
        listening = await asyncio.get_running_loop().create_server(factory, host, port)
    except (OSError, UnicodeError) as error:  # of a host, the latter
        await runner.cleanup()
        raise UserError(
            f"--rest_port={port} of --host={host} cannot be used: "
            f"{getattr(error, 'strerror', None) or error}"
        ) from None

    async def end():
        listening.close()
        await answers.end(_GRACE_SECONDS)
        await runner.cleanup()

    ends.append(end)
    return listening.sockets[0].getsockname()[1]


async def _start_grpc(ends, model, limits, host, port, most):
    server = grpc_api.server(model, limits, most)
    try:
        port = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError:
        raise UserError(f"--grpc_port={port} cannot be used: is another server there?") from None
    await server.start()
    ends.append(lambda: server.stop(_GRACE_SECONDS))
    return port
