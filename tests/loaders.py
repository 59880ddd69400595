"""Runs a SavedModel in a process of its own: `python -m tests.loaders new|old|cpp DIRECTORY`, with
requests on standard input.

Requests: a JSON object from signature to {input: nested list}; the answer, on standard output,
is the same for the outputs.

  new  tf.saved_model.load
  old  tf.compat.v1.saved_model.loader and Session.run
  cpp  TF_LoadSessionFromSavedModel of TensorFlow's C++ library, which TF Serving uses, with XLA
  disabled, as TF Serving has it;
       TensorFlow's Python package is loaded only to read the signatures and the list of ops, which
       must all have CPU kernels.
"""

import ctypes
import json
import os
import sys

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2


def new(path, requests):
    signatures = tf.saved_model.load(path).signatures
    return {
        name: signatures[name](
            **{k: tf.constant(v, _spec(signatures[name], k).dtype) for k, v in inputs.items()}
        )
        for name, inputs in requests.items()
    }


def _spec(signature, name):
    return signature.structured_input_signature[1][name]


def old(path, requests):
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signatures = tf.compat.v1.saved_model.loader.load(session, ["serve"], path).signature_def
        return {
            name: session.run(
                {key: info.name for key, info in signatures[name].outputs.items()},
                {signatures[name].inputs[key].name: value for key, value in inputs.items()},
            )
            for name, inputs in requests.items()
        }


def cpp(path, requests):
    with open(os.path.join(path, "saved_model.pb"), "rb") as file:
        graph_def = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0]
    library = Library()
    functions = graph_def.graph_def.library.function
    ops = {
        node.op
        for nodes in [graph_def.graph_def.node, *(f.node_def for f in functions)]
        for node in nodes
    }
    for op in sorted(ops - {f.signature.name for f in functions}):
        library.require_cpu_kernel(op)
    session = library.load(path)
    answers = {}
    for name, inputs in requests.items():
        signature = graph_def.signature_def[name]
        feeds = [
            (signature.inputs[k].name, np.array(v, _NUMPY[signature.inputs[k].dtype]))
            for k, v in inputs.items()
        ]
        fetches = {k: info.name for k, info in signature.outputs.items()}
        answers[name] = dict(zip(fetches, session(feeds, list(fetches.values())), strict=True))
    return answers


_FLOAT, _INT32, _STRING, _INT64, _BOOL = 1, 3, 7, 9, 10
_NUMPY = {_FLOAT: np.float32, _INT32: np.int32, _STRING: object, _INT64: np.int64, _BOOL: np.bool_}
_TSTRING_SIZE = 24


class _Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class _Buffer(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Library:
    """TensorFlow's C interface, as much as is needed to load a SavedModel and run it."""

    def __init__(self):
        self._c = ctypes.CDLL(os.path.join(os.path.dirname(tf.__file__), "libtensorflow_cc.so.2"))
        self._c._ZN10tensorflow21DisableXlaCompilationEv()
        pointers = """
            TF_NewStatus TF_NewSessionOptions TF_NewGraph TF_NewBuffer TF_LoadSessionFromSavedModel
            TF_TensorData TF_GraphOperationByName TF_AllocateTensor TF_GetRegisteredKernelsForOp
            TF_StringGetDataPointer
        """
        for name in pointers.split():
            getattr(self._c, name).restype = ctypes.c_void_p
        for name in ("TF_Dim", "TF_TensorByteSize", "TF_StringGetSize"):
            getattr(self._c, name).restype = ctypes.c_size_t
        self._c.TF_Message.restype = ctypes.c_char_p
        self._status = ctypes.c_void_p(self._c.TF_NewStatus())

    def _check(self):
        if self._c.TF_GetCode(self._status) != 0:
            raise RuntimeError(self._c.TF_Message(self._status).decode())

    def require_cpu_kernel(self, op):
        kernels = self._c.TF_GetRegisteredKernelsForOp(op.encode(), self._status)
        self._check()
        kernels = ctypes.cast(kernels, ctypes.POINTER(_Buffer)).contents
        if op not in ("Placeholder", "NoOp") and b"CPU" not in ctypes.string_at(
            kernels.data, kernels.length
        ):
            raise RuntimeError(f"op {op} has no CPU kernel")

    def load(self, path):
        graph = ctypes.c_void_p(self._c.TF_NewGraph())
        tags = (ctypes.c_char_p * 1)(b"serve")
        options = ctypes.c_void_p(self._c.TF_NewSessionOptions())
        meta_graph = ctypes.c_void_p(self._c.TF_NewBuffer())
        session = self._c.TF_LoadSessionFromSavedModel(
            options, None, path.encode(), tags, 1, graph, meta_graph, self._status
        )
        self._check()

        def run(feeds, fetches):
            inputs = [self._output(graph, name) for name, _ in feeds]
            outputs = [self._output(graph, name) for name in fetches]
            values = (ctypes.c_void_p * len(feeds))(*(self._tensor(array) for _, array in feeds))
            results = (ctypes.c_void_p * len(fetches))()
            arrays = (
                (_Output * len(inputs))(*inputs),
                values,
                len(inputs),
                (_Output * len(outputs))(*outputs),
                results,
            )
            self._c.TF_SessionRun(
                ctypes.c_void_p(session), None, *arrays, len(outputs), None, 0, None, self._status
            )
            self._check()
            return [self._array(ctypes.c_void_p(result)) for result in results]

        return run

    def _output(self, graph, name):
        operation, index = name.split(":")
        return _Output(self._c.TF_GraphOperationByName(graph, operation.encode()), int(index))

    def _tensor(self, array):
        code = next(code for code, dtype in _NUMPY.items() if array.dtype == dtype)
        dims = (ctypes.c_int64 * array.ndim)(*array.shape)
        size = array.size * _TSTRING_SIZE if code == _STRING else array.nbytes
        tensor = self._c.TF_AllocateTensor(code, dims, array.ndim, ctypes.c_size_t(size))
        data = self._c.TF_TensorData(ctypes.c_void_p(tensor))
        if code == _STRING:
            for i, text in enumerate(array.ravel()):
                place, content = ctypes.c_void_p(data + i * _TSTRING_SIZE), text.encode()
                self._c.TF_StringInit(place)
                self._c.TF_StringCopy(place, content, ctypes.c_size_t(len(content)))
        else:
            ctypes.memmove(data, np.ascontiguousarray(array).ctypes.data, size)
        return tensor

    def _array(self, tensor):
        code = self._c.TF_TensorType(tensor)
        shape = [self._c.TF_Dim(tensor, i) for i in range(self._c.TF_NumDims(tensor))]
        data = self._c.TF_TensorData(tensor)
        if code != _STRING:
            content = ctypes.string_at(data, self._c.TF_TensorByteSize(tensor))
            return np.frombuffer(content, _NUMPY[code]).reshape(shape)
        places = [ctypes.c_void_p(data + i * _TSTRING_SIZE) for i in range(int(np.prod(shape)))]
        texts = [
            ctypes.string_at(self._c.TF_StringGetDataPointer(p), self._c.TF_StringGetSize(p))
            for p in places
        ]
        return np.array(texts, object).reshape(shape)


def _plain(value):
    array = value.numpy() if tf.is_tensor(value) else value
    return [text.decode() for text in array] if array.dtype == object else array.tolist()


if __name__ == "__main__":
    load = {"new": new, "old": old, "cpp": cpp}[sys.argv[1]]
    answers = load(sys.argv[2], json.load(sys.stdin))
    print(
        json.dumps(
            {
                name: {key: _plain(value) for key, value in outputs.items()}
                for name, outputs in answers.items()
            }
        )
    )
