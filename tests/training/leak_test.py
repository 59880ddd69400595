"""A long run needs no more memory than a short one: what its iterations leave behind."""

import ctypes
import gc
import sys
import tempfile

import pytest
import tensorflow as tf

import regan_tf
from regan_tf.config import Config
from regan_tf.training.run import run
from tests.training.small import SMALL

_LIBC = ctypes.CDLL(None)
_COUNTED = range(100, 300)  # iterations; before these there is much that is made once


class _Allocations(ctypes.Structure):
    """What the C library tells of its heap, in bytes."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks"),
            *("uordblks", "fordblks", "keepcost"),
        )
    ]


def _in_use():
    """Bytes that C++ and large objects of Python have, and blocks of small ones."""
    gc.collect()
    return _LIBC.mallinfo2().uordblks, sys.getallocatedblocks()


class _Watch(regan_tf.Callback):
    def on_iteration(self, record, generator):
        if record["iteration"] == _COUNTED.start:
            self.first = _in_use()
        if record["iteration"] == _COUNTED.stop:
            self.last = _in_use()


@pytest.mark.slow
class LeakTest(tf.test.TestCase):
    def test_iterations_leave_nothing_in_memory(self):
        if not hasattr(_LIBC, "mallinfo2"):
            self.skipTest("needs a C library that tells what is allocated")
        _LIBC.mallinfo2.restype = _Allocations
        watch = _Watch()
        with tempfile.TemporaryDirectory() as path:
            options = SMALL | {"iterations": _COUNTED.stop, "d_steps": 1, "eval_samples": 100}
            options |= {"estimator": "reinforce", "pretrain_epochs": 0, "export_generator": "none"}
            options |= {"discriminator_dim": 8, "checkpoint_every": 1000, "eval_every": 50}
            run(Config(**options, workdir=path).resolved(), callbacks=[watch])
        allocated, blocks = (b - a for a, b in zip(watch.first, watch.last, strict=True))
        self.assertLess(allocated / len(_COUNTED), 300)  # a tensor takes hundreds of bytes
        self.assertLess(blocks / len(_COUNTED), 4)  # a number is one, a record has 20


if __name__ == "__main__":
    tf.test.main()
