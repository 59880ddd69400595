"""A trained generator as a SavedModel that TF Serving can load and run."""

import os
import shutil
import tempfile
from pathlib import Path

import tensorflow as tf

from regan_tf import counter_rng, data
from regan_tf.config import UserError


class ServedGenerator(tf.Module):
    """What is saved: raw variables and pure functions of rows.

    No Keras object is tracked: TF Serving loads such a model but cannot run it ("Could not find variable"). The functions
    reach the generator through a closure, and every input and output leads with the batch dimension.
    """

    def __init__(self, generator):
        super().__init__()
        self.weights = [v.value for v in generator.variables]

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="seed")])
        def generate(seed):
            uniform = counter_rng.uniform_rows(seed, generator.seq_len, generator.vocab_size)
            tokens = generator.unroll(-tf.math.log(-tf.math.log(uniform))).tokens
            return {"tokens": tokens, "text": tf.strings.reduce_join(tf.gather(tf.constant(list(data.SYMBOLS)), tokens), axis=1)}

        self.generate = generate


def publish(generator, directory):
    """Saves the generator as the next numbered version under `directory`.

    Signature `serving_default`: seed int64 [B] -> tokens int32 [B, T], text string [B]. A row depends on its own seed alone.

    The version appears at once and complete: it is written beside, then renamed, and never over another.

    Returns:
      The version's path.
    Raises:
      UserError: the directory cannot be written.
    """
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.mkdtemp(prefix=".writing-", dir=directory)
    except OSError as error:
        raise UserError(f"--export_dir: {directory} cannot be written: {error.strerror}") from None
    try:
        served = ServedGenerator(generator)
        tf.saved_model.save(served, temporary, signatures={"serving_default": served.generate})
        os.chmod(temporary, 0o755)
        return _rename_to_next_version(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename_to_next_version(temporary, directory):
    while True:
        versions = [int(p.name) for p in directory.iterdir() if p.name.isdigit()]
        target = directory / str(max(versions, default=0) + 1)
        try:
            os.rename(temporary, target)  # fails if another export has just taken this number
            return target
        except OSError:
            if not target.exists():
                raise
