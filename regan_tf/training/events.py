"""TensorBoard's view of a run."""

import contextlib
import shutil

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.scalar.summary_v2 import scalar_pb

from regan_tf.cli import config_flags
from regan_tf.files import writing
from regan_tf.graphs import number


class EventLog:
    """TensorBoard events: the configuration as hyperparameters, the records' numbers, and samples
    at evaluation points.

    A continued run writes them anew from its records, so that nothing beyond its checkpoint is left
    in them. Records hold no samples: those from before the interruption are gone.
    """

    def __init__(self, directory, task, records):
        self._directory, config = directory, task.config
        shutil.rmtree(directory, ignore_errors=True)
        values = {
            name: getattr(config, name)
            for name in config_flags.recorded(config)
            if getattr(config, name) is not None
        }
        with writing(directory):
            self._writer = tf.summary.create_file_writer(str(directory))
            with self._writer.as_default(0):
                hparams.hparams_config(
                    [hparams.HParam(name) for name in values],
                    [hparams.Metric(f"adversarial/{name}") for name in task.event_metrics],
                )
                hparams.hparams(values)
        for record in records:
            self.write(record)

    def write(self, record):
        """Adds a record's numbers, as one event: one for each takes as long as a small update."""
        # Protocol buffers one after the other are read as one that has the values of all.
        values = b"".join(
            scalar_pb(f"{record['phase']}/{name}", value).SerializeToString()
            for name, value in record.items()
            if isinstance(value, float)
        )
        with writing(self._directory), self._writer.as_default():
            tf.summary.experimental.write_raw_pb(values, _step(record))

    def write_samples(self, record, samples):
        """samples: lines, which are what the record was measured on."""
        with writing(self._directory), self._writer.as_default(_step(record)):
            # TensorBoard reads Markdown, in which an indented line stands for itself: "*" is an
            # operator of the grammar.
            tf.summary.text(
                f"{record['phase']}/samples", "".join(f"    {line}\n" for line in samples)
            )

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        # What ended the run is what to tell: a full disk fails here once more.
        with contextlib.suppress(tf.errors.OpError) if error else writing(self._directory):
            self._writer.close()


def _step(record):
    return number(record["iteration"], "int64")
