"""Ctrl-C, and a polite kill: a run stops where it can go on."""

import contextlib
import os
import signal
import threading
import time

from regan_tf.cli.command import INTERRUPTED

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds after the first signal: a shell's group or a scheduler may send several at once.
_SAME = 0.5
_GRACE = 1.0  # seconds in which Python may hear a second one: a step may keep it from that
_STOPPING = (
    "\nstopping after this step; press Ctrl-C again to stop at once "
    "(what is since the last checkpoint is lost)\n"
)


class Interruption:
    """True once SIGINT or SIGTERM has come: the step under way is finished first. A second one
    stops at once, unless it comes within half a second: then it is the first one still.

    Python calls handlers between two of its own instructions in the main thread, so not while this
    waits for a step, which a reward may make long. Therefore a thread of its own is told of signals
    as they come.

    Args:
      ends_process: whether a second one ends the process where Python does not hear it.
    """

    def __init__(self, ends_process: bool = False):
        self._ends_process = ends_process
        self._came: float | None = None  # when Python heard of the first one
        self._heard = threading.Event()

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
        now = time.monotonic()
        if self._came is None:
            self._came = now
        elif now - self._came > _SAME:
            self._heard.set()
            raise KeyboardInterrupt

    def _watch(self, reader):
        came = None
        while number := os.read(reader, 1):
            if number[0] not in _SIGNALS:
                continue
            now = time.monotonic()
            if came is None:
                came = now
                # Not print: it may be in the middle of a line of the bar, and cannot be entered
                # twice.
                with contextlib.suppress(OSError):
                    os.write(2, _STOPPING.encode())
            elif now - came > _SAME and self._ends_process and not self._heard.wait(_GRACE):
                os._exit(INTERRUPTED)
        os.close(reader)

    def __bool__(self):
        return self._came is not None
