"""The local server: both interfaces of TF Serving on one event loop."""

import asyncio
import contextlib
import logging
import signal

from aiohttp import web

from regan_tf.config import UserError
from regan_tf.serving import grpc_api, rest

_GRACE_SECONDS = 10  # for requests under way when the server is stopped


async def run(model, limits, host, rest_port, grpc_port, poll_seconds, announce):
    """Serves a Model until SIGINT or SIGTERM; requests under way are answered first.

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
    async with contextlib.AsyncExitStack() as stack:
        ports = (
            await _start_rest(stack, model, limits, host, rest_port),
            await _start_grpc(stack, model, limits, host, grpc_port),
        )
        watcher = asyncio.create_task(model.watch(poll_seconds))
        stack.callback(watcher.cancel)
        announce(*ports)
        await stop.wait()


async def _start_rest(stack, model, limits, host, port):
    # What clients do wrong is told to them alone.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    runner = web.AppRunner(
        rest.application(model, limits), access_log=None, shutdown_timeout=_GRACE_SECONDS
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise UserError(f"--rest_port={port} cannot be used: {error.strerror}") from None
    return runner.addresses[0][1]


async def _start_grpc(stack, model, limits, host, port):
    server = grpc_api.server(model, limits)
    try:
        port = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError:
        raise UserError(f"--grpc_port={port} cannot be used: is another server there?") from None
    await server.start()
    stack.push_async_callback(server.stop, _GRACE_SECONDS)
    return port
