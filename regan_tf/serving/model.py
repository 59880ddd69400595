"""A served model: its newest version, replaced without a gap when a newer one is published."""

import asyncio
import contextlib
from typing import NamedTuple

import grpc
from absl import logging
from tensorflow_serving.apis import get_model_status_pb2

from regan_tf.serving.refusals import RejectedError
from regan_tf.serving.servable import Servable
from regan_tf.serving.versions import versions_in

_STATES = get_model_status_pb2.ModelVersionStatus


class Status(NamedTuple):
    """What has become of a version: a ModelVersionStatus.State, and the error if it could not be
    loaded.
    """

    state: int
    error: str = ""


class Model:
    """The newest version in a directory, as TF Serving's default policy has it.

    A new version is loaded and warmed up while the old one goes on answering; requests under way
    keep the old one alive.

    Args:
      name: what clients call it.
      directory: holds the numbered versions.
      limits, batching: of Servable.
    """

    def __init__(self, name, directory, limits, batching):
        self.name, self.directory = name, directory
        self._load = lambda path: Servable(path, limits, batching)
        self._current = None
        self.statuses = {}
        self._failed = {}  # from a version that could not be loaded to its files then

    @property
    def available(self):
        """Whether there is a version to answer with."""
        return self._current is not None

    def find(self, name, version=None):
        """The Servable to answer with. Raises RejectedError."""
        current = self._current
        if name != self.name or current is None or version not in (None, current.version):
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise RejectedError(
                grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}"
            )
        return current

    def status(self, name, version=None):
        """GetModelStatusResponse of all versions, or of one. Raises RejectedError."""
        found = {
            v: s for v, s in self.statuses.items() if name == self.name and version in (None, v)
        }
        if not found:
            which = "" if version is None else f" with version {version}"
            raise RejectedError(
                grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {name}{which}"
            )
        response = get_model_status_pb2.GetModelStatusResponse()
        for number, status in sorted(found.items(), reverse=True):
            entry = response.model_version_status.add(version=number, state=status.state)
            entry.status.error_code = grpc.StatusCode.UNKNOWN.value[0] if status.error else 0
            entry.status.error_message = status.error
        return response

    async def refresh(self):
        """Looks for versions newer than the current one, and serves the newest that can be loaded.
        One that could not be is tried again once its files have changed: it was being copied.
        """
        with contextlib.suppress(OSError):
            for path in reversed(versions_in(self.directory)):
                if self._current and int(path.name) <= self._current.version:
                    return
                if await self._advance_to(path):
                    return

    async def _advance_to(self, path):
        """Whether the version is now served."""
        number, files = int(path.name), _files(path)
        if self._failed.get(number) == files:
            return False
        self.statuses[number] = Status(_STATES.LOADING)
        try:
            loaded = await asyncio.to_thread(self._load, path)
        except Exception as error:  # a damaged version, in whatever way, must not end the server
            self.statuses[number] = Status(_STATES.END, str(error))
            self._failed[number] = files
            logging.error("version %d cannot be loaded: %s", number, error)
            return False
        if self._current is not None:
            self.statuses[self._current.version] = Status(_STATES.END)
        self._current = loaded
        self.statuses[number] = Status(_STATES.AVAILABLE)
        logging.info("serving version %d of %s", number, self.name)
        return True

    async def watch(self, seconds):
        """Refreshes for ever."""
        while True:
            await asyncio.sleep(seconds)
            await self.refresh()


def _files(path):
    """What tells whether a version has changed. Raises OSError."""
    files = ((p, p.stat()) for p in sorted(path.rglob("*")))
    return [(p, about.st_size, about.st_mtime_ns) for p, about in files]
