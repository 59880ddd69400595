"""A client of TF Serving, or of the local server, for the signatures of ServedModel; over gRPC or
REST.
"""

import json
import time

import numpy as np
import tenacity

from regan_tf.config import UserError

_ROWS = 512  # of one request; more are split
_LARGEST_SEED = 2**53  # JSON numbers beyond are not exact


class ServingError(UserError):
    """The server could not be reached in time, or refused the request: the message says which and
    why.
    """


class _BusyError(ServingError):
    """Worth another try: the server is starting, changing, or has too much to do."""


class Client:
    """Calls a served model. Usable as a context manager.

        with Client("localhost:8500") as client:
            rows = client.generate(20, seed=7, prefix="x+")
            print(rows["text"], rows["log_prob"])

    What fails for a reason that may pass is tried again, with growing random pauses, until the
    deadline.

    Args:
      address: "host:port" for gRPC, "http://host:port" for REST.
      model, version: which; None: the version that the server has as its latest.
      deadline: seconds that a request, with its retries, may take.
    """

    def __init__(self, address, model="regan", version=None, deadline=10.0):
        transport = _Rest if address.startswith(("http://", "https://")) else _Grpc
        self._transport = transport(address, model, version)
        self._deadline = deadline

    def generate(self, num, seed=0, temperature=1.0, prefix=""):
        """Draws sequences that start with the prefix.

        Returns:
          A dict of arrays with `num` rows: text, tokens, log_prob, token_log_probs, valid (see
          ServedModel). The same arguments give the same rows, of which a smaller `num` gives the
          first.
        """
        seeds = np.random.default_rng(seed).integers(_LARGEST_SEED, size=num)
        temperatures, prefixes = np.full(num, temperature, np.float32), np.full(num, prefix, object)
        return self.predict(
            "generate", {"seed": seeds, "temperature": temperatures, "prefix": prefixes}
        )

    def score(self, texts):
        """Log-probabilities of texts at temperature 1, in nats: a dict with log_prob,
        token_log_probs, valid.
        """
        return self.predict("score", {"text": np.array(texts, object)})

    def discriminate(self, tokens):
        """The discriminator's p_real of int [N, T] tokens, and valid."""
        return self.predict("discriminate", {"tokens": np.asarray(tokens, np.int32)})

    def predict(self, signature, inputs):
        """Calls any signature: a dict of arrays of equally many rows in, one out. Raises
        ServingError.
        """
        size = len(next(iter(inputs.values())))
        starts = range(0, max(size, 1), _ROWS)
        parts = [
            self._call(signature, {k: v[i : i + _ROWS] for k, v in inputs.items()}) for i in starts
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _call(self, signature, inputs):
        end = time.monotonic() + self._deadline
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_BusyError),
            stop=tenacity.stop_before_delay(self._deadline),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=2),
            reraise=True,
        ):
            with attempt:
                return self._transport.call(signature, inputs, max(end - time.monotonic(), 0.001))

    def close(self):
        """Closes the connection."""
        self._transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class _Grpc:
    def __init__(self, address, model, version):
        import grpc  # what is imported here takes seconds, and REST does without
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        self._grpc, self._tf, self._request = grpc, tf, predict_pb2.PredictRequest
        options = {"grpc.max_receive_message_length": -1, "grpc.max_reconnect_backoff_ms": 1000}
        self._channel = grpc.insecure_channel(address, list(options.items()))
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._address, self._model, self._version = address, model, version

    def call(self, signature, inputs, timeout):
        request = self._request()
        request.model_spec.name, request.model_spec.signature_name = self._model, signature
        if self._version is not None:
            request.model_spec.version.value = self._version
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(self._tf.make_tensor_proto(value))
        try:
            outputs = self._stub.Predict(request, timeout=timeout).outputs
        except self._grpc.RpcError as error:
            busy = error.code() in (
                self._grpc.StatusCode.UNAVAILABLE,
                self._grpc.StatusCode.RESOURCE_EXHAUSTED,
                self._grpc.StatusCode.CANCELLED,  # by the server: we cancel nothing
            )
            message = f"{self._address} answers {error.code().name}: {error.details()}"
            raise (_BusyError if busy else ServingError)(message) from None
        return {name: _decoded(self._tf.make_ndarray(value)) for name, value in outputs.items()}

    def close(self):
        self._channel.close()


class _Rest:
    def __init__(self, address, model, version):
        import requests

        self._errors, self._session = requests.exceptions, requests.Session()
        self._address = address
        path = (
            f"/v1/models/{model}" if version is None else f"/v1/models/{model}/versions/{version}"
        )
        self._url = address.rstrip("/") + path + ":predict"

    def call(self, signature, inputs, timeout):
        body = {
            "signature_name": signature,
            "inputs": {name: value.tolist() for name, value in inputs.items()},
        }
        try:
            # NaN as TF Serving writes it.
            response = self._session.post(self._url, data=json.dumps(body), timeout=timeout)
            content = response.json()
        except (self._errors.ConnectionError, self._errors.Timeout) as error:
            raise _BusyError(f"{self._address} cannot be reached: {error}") from None
        except (self._errors.RequestException, ValueError) as error:
            raise ServingError(f"{self._address} cannot be understood: {error}") from None
        if response.status_code == 200:
            return {
                name: np.array(value, object if name == "text" else None)
                for name, value in content["outputs"].items()
            }
        message = content.get("error", content) if isinstance(content, dict) else content
        kind = _BusyError if response.status_code in (429, 503) else ServingError
        raise kind(f"{self._address} answers {response.status_code}: {message}")

    def close(self):
        self._session.close()


def _decoded(array):
    return np.array([text.decode() for text in array], object) if array.dtype == object else array
