"""Requests in batches: who waits is answered, and nothing is computed for who has left."""

import asyncio
import threading

import grpc
import numpy as np
import tensorflow as tf

from regan_tf.serving.batching import Batcher
from regan_tf.serving.refusals import Limits, RejectedError


class _Model:
    """Two signatures that add one. The first call runs until it is let go."""

    def __init__(self):
        self.calls, self.go = [], threading.Event()

    def __call__(self, inputs):
        self.go.wait(60)
        self.calls.append(inputs["x"].tolist())
        return {"y": inputs["x"] + 1}

    def batcher(self, joining=True, **limits):
        limits = Limits(batch_rows=4, waiting_batches=2)._replace(**limits)
        return Batcher({"a": self, "b": self}, limits, joining)


async def _put(batcher, *values, signature="a"):
    task = asyncio.create_task(batcher.put(signature, {"x": np.array(values)}, len(values)))
    await asyncio.sleep(0)  # it is in the queue
    await asyncio.sleep(0)  # and where it is the first, its call has begun
    return task


class BatchingTest(tf.test.TestCase):
    def test_waiting_requests_are_joined_and_split(self):
        async def run():
            model = _Model()
            batcher = model.batcher()
            tasks = [await _put(batcher, 0)]
            tasks += [await _put(batcher, 1, 2), await _put(batcher, 7, signature="b")]
            tasks += [await _put(batcher, 3, 4), await _put(batcher, 5)]
            model.go.set()
            answers = [answer["y"].tolist() for answer in await asyncio.gather(*tasks)]
            self.assertEqual(answers, [[1], [2, 3], [8], [4, 5], [6]])
            self.assertEqual(model.calls, [[0], [1, 2, 3, 4], [7], [5]])

        asyncio.run(run())

    def test_without_joining_each_is_a_call(self):
        async def run():
            model = _Model()
            batcher = model.batcher(joining=False)
            tasks = [await _put(batcher, i) for i in range(3)]
            model.go.set()
            await asyncio.gather(*tasks)
            self.assertEqual(model.calls, [[0], [1], [2]])

        asyncio.run(run())

    def test_what_nobody_waits_for_is_never_run(self):
        async def run():
            model = _Model()
            batcher = model.batcher()
            first = await _put(batcher, 0)
            left, stays = await _put(batcher, 1, 2), await _put(batcher, 3)
            left.cancel()
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(0):
                    await batcher.put("a", {"x": np.array([4])}, 1)
            first.cancel()  # it runs already: its answer goes nowhere
            await asyncio.sleep(0)
            model.go.set()
            self.assertAllEqual((await stays)["y"], [4])
            self.assertEqual(model.calls, [[0], [3]])

        asyncio.run(run())

    def test_the_queue_is_bounded_by_rows_of_those_who_wait(self):
        async def run():
            model = _Model()
            batcher = model.batcher()
            tasks = [await _put(batcher, 0)]
            tasks += [await _put(batcher, *range(4)), await _put(batcher, *range(3))]
            self.assertAllEqual((await self._refused(batcher, 1, 2)), "RESOURCE_EXHAUSTED")
            tasks.append(await _put(batcher, 9))
            tasks.pop(1).cancel()
            await asyncio.sleep(0)
            tasks.append(await _put(batcher, 1, 2))  # now there is room
            model.go.set()
            await asyncio.gather(*tasks)
            tasks = [await _put(batcher, *range(4)) for _ in range(2)]  # all of it, again
            await asyncio.gather(*tasks)

        asyncio.run(run())

    async def _refused(self, batcher, *values):
        with self.assertRaisesRegex(RejectedError, "try again later") as raised:
            await batcher.put("a", {"x": np.array(values)}, len(values))
        return raised.exception.code.name

    def test_a_model_that_fails_or_gives_no_rows_stops_nothing(self):
        def fail(inputs):
            raise ZeroDivisionError

        async def run():
            functions = {"fails": fail, "scalar": lambda inputs: {"y": np.float32(1)}}
            functions |= {"short": lambda inputs: {"y": inputs["x"][1:]}}
            batcher = Batcher(functions | {"good": lambda inputs: inputs}, Limits(), True)
            for signature, code in {
                "fails": grpc.StatusCode.INTERNAL,
                "scalar": grpc.StatusCode.FAILED_PRECONDITION,
                "short": grpc.StatusCode.FAILED_PRECONDITION,
            }.items():
                with self.assertRaises(RejectedError) as raised:
                    await batcher.put(signature, {"x": np.ones(2)}, 2)
                self.assertEqual(raised.exception.code, code)
            self.assertAllEqual((await batcher.put("good", {"x": np.ones(2)}, 2))["x"], [1, 1])

        asyncio.run(run())


if __name__ == "__main__":
    tf.test.main()
