"""Warm-up requests in a SavedModel: TF Serving runs them before it lets clients in."""

import tensorflow as tf

REQUESTS_FILE = "assets.extra/tf_serving_warmup_requests"

# Of tensorflow/serving's PredictionLog, PredictLog, PredictRequest and ModelSpec: field numbers,
# which never change.
_PREDICT_LOG, _REQUEST, _MODEL_SPEC, _INPUTS, _NAME, _SIGNATURE_NAME = 6, 1, 1, 2, 1, 3
_MAP_KEY, _MAP_VALUE = 1, 2


def write(saved_model, requests, model):
    """Writes them, as records of PredictionLog messages.

    The messages are put together from their parts, so that training does not need TF Serving's
    package.

    Args:
      saved_model: path of the SavedModel's directory.
      requests: a dict from signature to a dict from input to array.
      model: name of the model.
    """
    file = saved_model / REQUESTS_FILE
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature, inputs in requests.items():
            writer.write(_prediction_log(model, signature, inputs))


def _prediction_log(model, signature, inputs):
    request = _field(
        _MODEL_SPEC, _field(_NAME, model.encode()) + _field(_SIGNATURE_NAME, signature.encode())
    )
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        request += _field(_INPUTS, _field(_MAP_KEY, name.encode()) + _field(_MAP_VALUE, tensor))
    return _field(_PREDICT_LOG, _field(_REQUEST, request))


def _field(number, payload):
    """A length-delimited field in the wire format of protocol buffers."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value):
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
