"""A loaded version of a model: checks inputs, joins the requests of several clients into batches,
runs them.
"""

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import grpc
import numpy as np
import tensorflow as tf
from absl import logging
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from regan_tf.serving.signatures import DEFAULT
from regan_tf.serving.warmup import REQUESTS_FILE

# All calls of models run on this thread: one call may use several cores, two at a time would share
# them.
_CALLS = ThreadPoolExecutor(1, thread_name_prefix="model")


class RejectedError(Exception):
    """A request that is answered by an error: a grpc.StatusCode and a message for the client."""

    def __init__(self, code, message):
        super().__init__(message[:500])  # it may quote what a client sent, of any length
        self.code = code


def invalid(message):
    """The error of a request that is wrong in itself."""
    return RejectedError(grpc.StatusCode.INVALID_ARGUMENT, message)


class Limits(NamedTuple):
    """Bounds on what one request, and all that wait, may ask for."""

    batch_rows: int = 1024  # of a request, and of a batch that joins several
    waiting_rows: int = 65_536  # of a signature, before clients are told to come back
    body_bytes: int = 4 * 2**20  # of a request


class Servable:
    """One version, ready to answer.

    Args:
      path: of the SavedModel; the directory's name is the version.
      limits: Limits.
      batching: whether requests that wait are joined.
    Raises:
      OSError, ValueError, tf.errors.OpError: it cannot be loaded.
    """

    def __init__(self, path, limits, batching):
        self.path, self.version, self._limits = path, int(path.name), limits
        self._model = tf.saved_model.load(str(path))
        saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
        served = self._model.signatures
        self.signature_defs = {
            k: v for k, v in saved.meta_graphs[0].signature_def.items() if k in served
        }
        self._specs = {
            name: function.structured_input_signature[1] for name, function in served.items()
        }
        self._batchers = {name: _Batcher(self._caller(name), limits, batching) for name in served}
        self._warm_up(path)

    def spec(self, signature):
        """The inputs of a signature: a dict from name to TensorSpec. Raises RejectedError."""
        if (signature or DEFAULT) not in self._specs:
            raise invalid(
                f"Serving signature name: {signature!r} not found; there are: "
                f"{', '.join(sorted(self._specs))}"
            )
        return self._specs[signature or DEFAULT]

    async def predict(self, signature, inputs):
        """Runs a signature on arrays: a dict from input to array gives one from output to array.
        Raises RejectedError.
        """
        rows = self._checked_rows(self.spec(signature), inputs)
        return await self._batchers[signature or DEFAULT].put(inputs, rows)

    def _checked_rows(self, spec, inputs):
        if set(inputs) != set(spec):
            raise invalid(
                f"the inputs are {', '.join(sorted(inputs)) or 'none'}; the signature takes "
                f"{', '.join(sorted(spec))}"
            )
        for name, value in inputs.items():
            if not spec[name].shape.is_compatible_with(value.shape):
                raise invalid(
                    f"input {name} has shape {list(value.shape)}; it must be {spec[name].shape}"
                )
        sizes = {len(value) for value in inputs.values()}
        if len(sizes) > 1:
            raise invalid(f"the inputs differ in their number of rows: {sorted(sizes)}")
        return self.checked_rows(sizes.pop())

    def checked_rows(self, rows):
        """The number of rows, if it is allowed. Raises RejectedError."""
        if not 0 < rows <= self._limits.batch_rows:
            raise invalid(
                f"the request has {rows} rows; it may have 1 to {self._limits.batch_rows}"
            )
        return rows

    def _caller(self, signature):
        function, spec = self._model.signatures[signature], self._specs[signature]

        def call(inputs):
            outputs = function(
                **{name: tf.constant(value, spec[name].dtype) for name, value in inputs.items()}
            )
            return {name: value.numpy() for name, value in outputs.items()}

        return call

    def _warm_up(self, path):
        file = path / REQUESTS_FILE
        for record in tf.data.TFRecordDataset(str(file)) if file.exists() else ():
            request = prediction_log_pb2.PredictionLog.FromString(
                record.numpy()
            ).predict_log.request
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            self._caller(request.model_spec.signature_name)(inputs)


class _Batcher:
    """Joins waiting requests into one call.

    While a call runs, requests gather; the next call takes all of them, up to a batch. So a lone
    client never waits for company, and the more clients, the larger the batches.
    """

    def __init__(self, function, limits, joining):
        self._function, self._limits, self._joining = function, limits, joining
        self._waiting, self._waiting_rows, self._worker = deque(), 0, None

    async def put(self, inputs, rows):
        """Waits for the outputs of these rows. Raises RejectedError if too many wait already."""
        if self._waiting_rows + rows > self._limits.waiting_rows:
            raise RejectedError(
                grpc.StatusCode.UNAVAILABLE, "too many requests are waiting; try again later"
            )
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((inputs, rows, answer))
        self._waiting_rows += rows
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await answer

    async def _work(self):
        while self._waiting:
            batch = self._take()
            try:
                inputs = {
                    name: np.concatenate([inputs[name] for inputs, _, _ in batch])
                    for name in batch[0][0]
                }
                outputs = await asyncio.get_running_loop().run_in_executor(
                    _CALLS, self._function, inputs
                )
            except (
                Exception
            ) as error:  # whatever it is, those who wait are told, and the next batch is run
                logging.exception("while running a batch")
                _fail(
                    batch,
                    RejectedError(
                        grpc.StatusCode.INTERNAL, f"the model failed: {type(error).__name__}"
                    ),
                )
                continue
            start = 0
            for _, rows, answer in batch:
                if not answer.done():  # its client may have left
                    answer.set_result(
                        {name: value[start : start + rows] for name, value in outputs.items()}
                    )
                start += rows
        self._worker = None

    def _take(self):
        batch = [self._waiting.popleft()]
        total = batch[0][1]
        while (
            self._joining
            and self._waiting
            and total + self._waiting[0][1] <= self._limits.batch_rows
        ):
            batch.append(self._waiting.popleft())
            total += batch[-1][1]
        self._waiting_rows -= total
        return batch


def _fail(batch, error):
    for _, _, answer in batch:
        if not answer.done():
            answer.set_exception(error)
