"""Joins the requests of several clients into batches, and forgets those that nobody waits for."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import grpc
import numpy as np
from absl import logging

from regan_tf.serving.refusals import RejectedError, busy

# All calls of models run on this thread: one call may use several cores, two at a time would share
# them.
_CALLS = ThreadPoolExecutor(1, thread_name_prefix="model")


class _Request(NamedTuple):
    signature: str
    inputs: dict
    rows: int


class Batcher:
    """Runs requests in their order; those of one signature that wait are joined.

    While a call runs, requests gather; the next call takes the oldest, and all of its signature
    that fit into a batch. So a lone client never waits for company, and the more clients, the
    larger the batches. A request whose waiting ends, because its client has left or its deadline
    has passed, is never run, unless it runs already.

    Args:
      functions: a dict from signature to a function, from a dict of arrays to one.
      limits: Limits.
      joining: whether requests are joined.
    """

    def __init__(self, functions, limits, joining):
        self._functions, self._limits, self._joining = functions, limits, joining
        self._waiting = {}  # from the answer's future to its _Request, the oldest first
        self._rows, self._worker = 0, None

    async def put(self, signature, inputs, rows):
        """Waits for the outputs of these rows. Raises RejectedError if too many wait already."""
        if self._rows + rows > self._limits.waiting_batches * self._limits.batch_rows:
            raise busy("too many requests are waiting")
        answer = asyncio.get_running_loop().create_future()
        self._waiting[answer] = _Request(signature, inputs, rows)
        self._rows += rows
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        try:
            return await answer
        finally:
            self._forget(answer)

    def _forget(self, answer):
        if request := self._waiting.pop(answer, None):
            self._rows -= request.rows

    async def _work(self):
        while self._waiting:
            batch = self._take()
            try:
                outputs = await asyncio.get_running_loop().run_in_executor(
                    _CALLS, self._run, list(batch.values())
                )
            except Exception as error:  # those who wait are told, and the next batch is run
                _fail(batch, _told(error))
                continue
            for answer, output in zip(batch, outputs, strict=True):
                if not answer.done():  # its client may have left
                    answer.set_result(output)
        self._worker = None

    def _take(self):
        oldest = next(iter(self._waiting.values()))
        batch, total = {}, 0
        for answer, request in self._waiting.items():
            if request.signature == oldest.signature:
                total += request.rows
                if batch and total > self._limits.batch_rows:
                    break
                batch[answer] = request
                if not self._joining:
                    break
        for answer in batch:
            self._forget(answer)
        return batch

    def _run(self, requests):
        """The outputs of each request, from one call."""
        inputs = {
            name: np.concatenate([request.inputs[name] for request in requests])
            for name in requests[0].inputs
        }
        outputs = self._functions[requests[0].signature](inputs)
        ends = np.cumsum([request.rows for request in requests])
        for name, value in outputs.items():
            if value.shape[:1] != (ends[-1],):
                raise RejectedError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"output {name} has shape {list(value.shape)}, and no row for each of "
                    f"{ends[-1]}: it cannot be served in batches",
                )
        parts = {name: np.split(value, ends[:-1]) for name, value in outputs.items()}
        return [{name: part[i] for name, part in parts.items()} for i in range(len(requests))]


def _told(error):
    if isinstance(error, RejectedError):
        return error
    logging.error("while running a batch", exc_info=error)
    return RejectedError(grpc.StatusCode.INTERNAL, f"the model failed: {type(error).__name__}")


def _fail(batch, error):
    for answer in batch:
        if not answer.done():
            answer.set_exception(error)
