"""What a request is refused for, and the bounds beyond which it is."""

from typing import NamedTuple

import grpc


class RejectedError(Exception):
    """A request that is answered by an error: a grpc.StatusCode and a message for the client."""

    def __init__(self, code, message):
        super().__init__(message[:500])  # it may quote what a client sent, of any length
        self.code = code


def invalid(message):
    """The error of a request that is wrong in itself."""
    return RejectedError(grpc.StatusCode.INVALID_ARGUMENT, message)


def busy(message):
    """The error of a request that may succeed if it is made again."""
    return RejectedError(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{message}; try again later")


class Limits(NamedTuple):
    """Bounds on what one request, and all that wait, may ask for."""

    batch_rows: int = 1024  # of a request, and of a batch that joins several
    waiting_batches: int = 16  # that many rows may wait, before clients are told to come back
    body_bytes: int = 4 * 2**20  # of a request, also once it is inflated

    def checked_rows(self, rows):
        """The number of rows, if a request may have so many. Raises RejectedError."""
        if not 0 < rows <= self.batch_rows:
            raise invalid(f"the request has {rows} rows; it may have 1 to {self.batch_rows}")
        return rows
