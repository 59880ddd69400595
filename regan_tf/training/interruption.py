"""Ctrl-C, and a polite kill: a run stops where it can go on."""

import contextlib
import os
import signal
import threading

_STOPPING = (
    "\nstopping after this step; press Ctrl-C again to stop at once "
    "(what is since the last checkpoint is lost)\n"
)


class Interruption:
    """True once SIGINT or SIGTERM has come: the step under way is finished first. A second one
    stops at once.
    """

    def __enter__(self):
        self._came = False
        # Python lets no other thread than the main one handle signals.
        is_main = threading.current_thread() is threading.main_thread()
        handled = (signal.SIGINT, signal.SIGTERM) if is_main else ()
        self._previous = {s: signal.signal(s, self._handle) for s in handled}
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number, frame):
        if self._came:
            raise KeyboardInterrupt
        self._came = True
        # Not print: it may be in the middle of a line of the bar, and cannot be entered twice.
        with contextlib.suppress(OSError):
            os.write(2, _STOPPING.encode())

    def __bool__(self):
        return self._came
