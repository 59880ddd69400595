"""Which version is served, whatever lies in the model's directory."""

import asyncio
import pathlib
from unittest import mock

import tensorflow as tf
from absl.testing import parameterized

from regan_tf.serving import model as models
from regan_tf.serving.refusals import Limits
from regan_tf.serving.versions import versions_in


def _load(path, limits, batching):
    """Stands in for a Servable: a version can be loaded once all of it is there."""
    if (path / "part").read_text() != "whole":
        raise ValueError("truncated")
    return mock.Mock(version=int(path.name))


class ModelTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = pathlib.Path(self.get_temp_dir())
        self.enterContext(mock.patch.object(models, "Servable", mock.Mock(side_effect=_load)))
        self.model = models.Model("m", self.directory, Limits(), batching=True)

    def _put(self, name, content="whole"):
        (self.directory / name).mkdir(exist_ok=True)
        (self.directory / name / "part").write_text(content)

    def _served(self):
        asyncio.run(self.model.refresh())
        return self.model.find("m").version if self.model.available else None

    def _states(self):
        states = models._STATES.State.Name
        answer = self.model.status("m").model_version_status
        return {s.version: states(s.state) for s in answer}

    def test_at_the_start_an_older_version_serves_where_newer_ones_are_damaged(self):
        self._put("1")
        self._put("2")
        (self.directory / "3").mkdir()
        self._put("4", "who")
        self.assertEqual(self._served(), 2)
        self.assertEqual(self._states(), {4: "END", 3: "END", 2: "AVAILABLE"})

    def test_a_version_that_was_half_copied_is_served_once_it_is_whole(self):
        self._put("1")
        self.assertEqual(self._served(), 1)
        self._put("2", "who")
        self.assertEqual(self._served(), 1)
        tries = models.Servable.call_count
        self.assertEqual(self._served(), 1)  # nothing has changed: it is not tried again
        self.assertEqual(models.Servable.call_count, tries)
        self._put("2", "whole")
        self.assertEqual(self._served(), 2)
        self.assertEqual(self._states(), {2: "AVAILABLE", 1: "END"})

    def test_it_never_goes_back(self):
        self._put("2")
        self.assertEqual(self._served(), 2)
        self._put("1")
        self.assertEqual(self._served(), 2)

    @parameterized.parameters("9" * 19, "9" * 20, "9" * 200, "x", "-1", "²")
    def test_what_is_no_number_of_64_bits_is_no_version(self, name):
        self._put(name)
        self.assertEmpty(versions_in(self.directory))
        self._put(str(2**63 - 1))
        self.assertEqual(self._served(), 2**63 - 1)
        self.assertEqual(self._states(), {2**63 - 1: "AVAILABLE"})


if __name__ == "__main__":
    tf.test.main()
