"""A run's directory: a checkpoint that takes another's place."""

import os
import tempfile
from pathlib import Path
from unittest import mock

import tensorflow as tf

from regan_tf.config import Config
from regan_tf.training.checkpoints import restore
from regan_tf.training.workdir import Workdir


class CheckpointsTest(tf.test.TestCase):
    def test_a_kill_while_one_replaces_another_loses_neither(self):
        path = Path(self.enterContext(tempfile.TemporaryDirectory()))
        variable = tf.Variable(1)
        checkpoint = tf.train.Checkpoint(weights=[variable])
        workdir = self.enterContext(Workdir(path, Config().resolved()))
        workdir.save(checkpoint, 7)
        for kept, moves in ((1, 0), (1, 1), (2, 2)):  # before which of the renames it is killed
            variable.assign(2)
            done, rename = [], os.rename

            def killed(*names, done=done, moves=moves, rename=rename):
                if len(done) == moves:
                    raise KeyboardInterrupt
                done.append(rename(*names))

            with mock.patch.object(os, "rename", killed):
                if moves < 2:
                    self.assertRaises(KeyboardInterrupt, workdir.save, checkpoint, 7)
                else:
                    workdir.save(checkpoint, 7)
            variable.assign(0)
            self.assertTrue(restore(path, checkpoint))
            self.assertEqual(variable, kept)
        variable.assign(3)
        workdir.save(checkpoint, 8)
        names = sorted(found.name for found in (path / "checkpoints").iterdir())
        self.assertEqual(names, ["00000007", "00000008"])


if __name__ == "__main__":
    tf.test.main()
