"""Publishing: a SavedModel is written beside, verified, and appears at once as the next numbered
version.
"""

import contextlib
import fcntl
import json
import logging
import os
import platform
import re
import shutil
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from regan_tf.cli import config_flags
from regan_tf.config import UserError, without_directory
from regan_tf.files import NotWrittenError, writing
from regan_tf.serving import warmup
from regan_tf.serving.signatures import (
    DEFAULT,
    DISCRIMINATE,
    GENERATE,
    GENERATE_TOKENS,
    SCORE,
    SCORE_TOKENS,
    ServedModel,
)
from regan_tf.serving.versions import MANIFEST, VOCABULARY, numbered

_WRITING = ".writing-"  # a version's name begins with it until it is whole
_CHECKED_ROWS = 8
_PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "numpy")


def publish_run(models, progress, which, metrics, run, directory):
    """Publishes a run's generator, `which` being "last" or "best", with the discriminator as it is.
    See `publish`.

    Args:
      models, progress: the training.models.Models and training.progress.Progress of the run.
      metrics: the generator's, for the manifest.
      run: the run's directory.
    """
    config = models.config
    best = which == "best"
    if best and progress.best_iteration < 0:
        raise UserError(f"--workdir={run} has no best generator yet: it is still in pre-training")
    about = {
        "model": config.model_name,
        "run": Path(run).resolve().name,
        "generator": which,
        "iteration": progress.best_iteration if best else progress.iteration,
        "metrics": metrics,
        "config": {
            name: without_directory(name, getattr(config, name))
            for name in config_flags.recorded(config)
        },
    }
    # Else it was never trained.
    discriminator = models.discriminator if config.trains_discriminator else None
    return publish(models.named(which), discriminator, models.vocabulary, directory, about)


def publish(generator, discriminator, vocabulary, directory, about=()):
    """Saves the networks as the next numbered version under `directory`. Signatures: see
    ServedModel.

    The version holds a SavedModel with its vocabulary as an asset, warm-up requests, and a
    manifest. It is loaded again and compared with the live networks; only then does it appear, at
    once, complete, and never over another.

    Args:
      generator, discriminator: the networks; the latter may be None.
      vocabulary: a text.Vocabulary of the generator's tokens.
      directory: of the model. The number and the whole version appear in it.
      about: a dict for the manifest.
    Returns:
      The version's path.
    Raises:
      UserError: the directory cannot be written, or the networks do not give finite numbers.
      RuntimeError: TF Serving could not run what was saved.
    """
    directory = Path(directory)
    with _begun(directory) as temporary:
        with writing(directory):
            served = _save(generator, discriminator, vocabulary, temporary)
        examples = _examples(generator, vocabulary, served.functions)
        _verify(temporary, generator, served, examples)
        with writing(directory):
            # Servers know it as a signature of its own, which takes seconds at its first call.
            default = {DEFAULT: examples[GENERATE]}
            warmup.write(temporary, examples | default, directory.name)
            (temporary / MANIFEST).write_text(
                json.dumps(_manifest(temporary, about, vocabulary), indent=2) + "\n",
                encoding="utf-8",
            )
            temporary.chmod(0o755)
            return _rename_to_next_version(temporary, directory)


@contextlib.contextmanager
def _begun(directory):
    """A temporary directory in the model's, locked and then removed, unless it was renamed; what
    killed exports have left of theirs, which nobody locks any more, is removed, too.
    """
    with contextlib.ExitStack() as held:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with _locked(directory):  # else a new one could be taken for one left over
                _drop_left_over(directory)
                temporary = Path(tempfile.mkdtemp(prefix=_WRITING, dir=directory))
                held.callback(shutil.rmtree, temporary, ignore_errors=True)
                held.enter_context(_locked(temporary))
        except OSError as error:
            raise NotWrittenError(
                f"--export_dir: {directory} cannot be written: {error.strerror}"
            ) from None
        yield temporary


def _drop_left_over(directory):
    for temporary in directory.glob(f"{_WRITING}*"):
        with contextlib.suppress(OSError), _locked(temporary, wait=False):
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _locked(directory, wait=True):
    """Holds the lock of a directory, which ends with the process, where its file system has locks.
    Raises OSError; without `wait` also if it cannot be had at once.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        if wait:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _save(generator, discriminator, vocabulary, directory):
    with tempfile.TemporaryDirectory() as assets:
        file = Path(assets) / VOCABULARY
        file.write_text("".join(f"{symbol}\n" for symbol in vocabulary.symbols), encoding="utf-8")
        served = ServedModel(generator, discriminator, vocabulary, str(file))
        with _warnings_only():
            tf.saved_model.save(served, str(directory), signatures=served.functions)
    return served


@contextlib.contextmanager
def _warnings_only():
    """An interactive Python shows TensorFlow's infos, too: here a temporary directory's name."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _examples(generator, vocabulary, signatures):
    """Inputs for each signature: signature -> input -> array."""
    rows, rng = _CHECKED_ROWS, np.random.default_rng(0)
    special = {vocabulary.end, vocabulary.unknown}
    plain = [token for token in range(len(vocabulary)) if token not in special]
    tokens = rng.choice(plain, size=[rows, generator.seq_len]).astype(np.int32)
    if vocabulary.end is not None:  # texts of every length there is
        tokens[
            np.arange(generator.seq_len) >= rng.integers(generator.seq_len + 1, size=[rows, 1])
        ] = vocabulary.end
    temperature = np.linspace(0.5, 1.5, rows, dtype=np.float32)
    begun = np.full([rows, generator.seq_len], -1, np.int32)
    begun[1::2, 0] = plain[0]
    examples = {
        GENERATE_TOKENS: {
            "seed": rng.integers(-(2**31), 2**31, [rows, 2]).astype(np.int32),
            "temperature": temperature,
            "prefix": begun,
        },
        GENERATE: {
            "seed": np.arange(rows, dtype=np.int64),
            "temperature": temperature,
            "prefix": np.array(["", vocabulary.symbols[plain[0]]] * (rows // 2), object),
        },
        SCORE: {"text": np.array(vocabulary.to_text(tokens), object)},
        SCORE_TOKENS: {"tokens": tokens},
        DISCRIMINATE: {"tokens": tokens},
    }
    return {name: inputs for name, inputs in examples.items() if name in signatures}


def _verify(path, generator, served, examples):
    """Loads what was saved; it must be servable and agree with the live networks."""
    with writing(path.parent):  # what a full disk has cut short is found here
        loaded = tf.saved_model.load(str(path))
    for name, inputs in examples.items():
        inputs = {key: tf.constant(value) for key, value in inputs.items()}
        live, saved = served.functions[name](**inputs), loaded.signatures[name](**inputs)
        for key, value in saved.items():
            if value.dtype.is_floating and not np.all(np.isfinite(value)):
                raise UserError(
                    f"the networks are not fit to be served: {key} of signature {name} is not "
                    "finite"
                )
            same = np.array_equal(value, live[key])
            if (
                value.dtype.is_floating
            ):  # two graphs need not be computed in the same order: the last bits may differ
                same = np.allclose(value, live[key], rtol=1e-5, atol=1e-6)
            if not same:
                raise RuntimeError(f"{key} of signature {name} is not what the live network gives")
    exact = tf.reduce_sum(generator.log_prob(examples[SCORE_TOKENS]["tokens"]), axis=1)
    np.testing.assert_allclose(
        loaded.signatures[SCORE](tf.constant(examples[SCORE]["text"]))["log_prob"], exact, rtol=1e-4
    )
    require_servable(path)


def require_servable(path):
    """Raises RuntimeError if a function asks for XLA, which TF Serving disables, or an op needs a
    GPU's library or Python.
    """
    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    for graph in (meta_graph.graph_def for meta_graph in saved.meta_graphs):
        for function in graph.library.function:
            if function.attr["_XlaMustCompile"].b:
                raise RuntimeError(f"function {function.signature.name} asks for XLA")
        for node in [
            *graph.node,
            *(node for function in graph.library.function for node in function.node_def),
        ]:
            if re.search("PyFunc|Cudnn|Xla", node.op):
                raise RuntimeError(f"op {node.op} cannot be served on a CPU without Python")


def _manifest(path, about, vocabulary):
    return {
        **dict(about),
        "vocabulary": {"separator": vocabulary.separator, "pattern": vocabulary.pattern},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": str(
            tf.saved_model.experimental.read_fingerprint(str(path)).saved_model_checksum
        ),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES},
    }


def _rename_to_next_version(temporary, directory):
    while True:
        taken = numbered(directory)
        target = directory / str(int(taken[-1].name) + 1 if taken else 1)
        try:
            os.rename(temporary, target)  # fails if another export has just taken this number
            return target
        except OSError:
            if not target.exists():
                raise
