"""Ctrl-C, and a polite kill: a run stops where it can go on."""

import contextlib
import os
import signal
import threading

from regan_tf.cli.command import INTERRUPTED

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GRACE = 1.0  # seconds in which Python may hear a second one: a step may keep it from that
_STOPPING = (
    "\nstopping after this step; press Ctrl-C again to stop at once "
    "(what is since the last checkpoint is lost)\n"
)


class Interruption:
    """True once SIGINT or SIGTERM has come: the step under way is finished first. A second one
    stops at once.

    Python calls handlers between two of its own instructions in the main thread, so not while this
    waits for a step, which a reward may make long. Therefore a thread of its own is told of signals
    as they come.

    Args:
      ends_process: whether a second one ends the process where Python does not hear it.
    """

    def __init__(self, ends_process: bool = False):
        self._ends_process = ends_process
        self._came, self._heard = False, threading.Event()

    def __enter__(self):
        # Python lets no other thread than the main one handle signals.
        is_main = threading.current_thread() is threading.main_thread()
        self._previous = {s: signal.signal(s, self._handle) for s in _SIGNALS if is_main}
        if is_main:
            reader, self._writer = os.pipe()
            os.set_blocking(self._writer, False)
            self._woken = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
            threading.Thread(target=self._watch, args=[reader], daemon=True).start()
        return self

    def __exit__(self, *_):
        if self._previous:
            signal.set_wakeup_fd(self._woken)
            os.close(self._writer)  # which ends the thread
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number, frame):
        if self._came:
            self._heard.set()
            raise KeyboardInterrupt
        self._came = True

    def _watch(self, reader):
        came = 0
        while number := os.read(reader, 1):
            came += number[0] in _SIGNALS
            if came == 1:
                # Not print: it may be in the middle of a line of the bar, and cannot be entered
                # twice.
                with contextlib.suppress(OSError):
                    os.write(2, _STOPPING.encode())
            elif came and self._ends_process and not self._heard.wait(_GRACE):
                os._exit(INTERRUPTED)
        os.close(reader)

    def __bool__(self):
        return self._came
