"""A loaded version of a model: checks inputs, and runs them in batches."""

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from regan_tf.serving.batching import Batcher
from regan_tf.serving.refusals import invalid
from regan_tf.serving.signatures import DEFAULT
from regan_tf.serving.warmup import REQUESTS_FILE


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
        self.version, self.limits = int(path.name), limits
        self._model = tf.saved_model.load(str(path))
        saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
        served = self._model.signatures
        self.signature_defs = {
            k: v for k, v in saved.meta_graphs[0].signature_def.items() if k in served
        }
        self._specs = {
            name: function.structured_input_signature[1] for name, function in served.items()
        }
        functions = {name: self._caller(name) for name in served}
        self._batcher = Batcher(functions, limits, batching)
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
        return await self._batcher.put(signature or DEFAULT, inputs, rows)

    def _checked_rows(self, spec, inputs):
        if set(inputs) != set(spec):
            raise invalid(
                f"the inputs are {', '.join(sorted(inputs)) or 'none'}; the signature takes "
                f"{', '.join(sorted(spec))}"
            )
        for name, value in inputs.items():
            if not (value.ndim and spec[name].shape.is_compatible_with(value.shape)):
                raise invalid(
                    f"input {name} has shape {list(value.shape)}; it must be {spec[name].shape}, "
                    "by rows"
                )
        sizes = {len(value) for value in inputs.values()} or {0}
        if len(sizes) > 1:
            raise invalid(f"the inputs differ in their number of rows: {sorted(sizes)}")
        return self.limits.checked_rows(sizes.pop())

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
