"""The data of a run: the grammar of ReGAN section 4.1, "x operator x operator ...", operators
uniform over + - * /; or texts.
"""

import dataclasses
import hashlib
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from regan_tf.config import UserError
from regan_tf.tasks import text
from regan_tf.tasks.text import Vocabulary

# The grammar's; the begin symbol, V, belongs to the generator, never to the data.
VOCABULARY = Vocabulary(tuple("x+-*/"))
OPERATORS = len(VOCABULARY) - 1
_SPLIT_SEED = 0  # which texts are held out does not depend on the run's seed: runs can be compared


class Dataset(NamedTuple):
    """What a run learns from and is measured on.

    Attributes:
      vocabulary: a text.Vocabulary.
      real, heldout: int32 [N, T] and [M, T], rows that are shorter ending with the end token,
        repeated.
      sha256: of the texts; "" for the grammar.
      remarks: what the user should know of the texts, a list of lines.
    """

    vocabulary: Vocabulary
    real: np.ndarray
    heldout: np.ndarray
    sha256: str = ""
    remarks: tuple = ()


def load(config):
    """The dataset that a resolved Config asks for. Raises UserError if its files do not serve."""
    try:
        dataset = _texts(config) if config.is_text else _grammar(config)
    except MemoryError as error:
        raise UserError(
            f"--seq_len={config.seq_len}: the data do not fit into memory ({error})"
        ) from None
    if config.data_sha256 not in ("", dataset.sha256):
        raise UserError(
            f"{config.data_file or config.dataset}: the texts are not those that the run began "
            f"with; they have changed (--data_sha256={config.data_sha256[:12]}..., now "
            f"{dataset.sha256[:12]}...)"
        )
    if len(dataset.real) < config.batch_size:
        raise UserError(
            f"--batch_size={config.batch_size} is not allowed: there are {len(dataset.real)} "
            "training sequences"
        )
    if config.is_text and len(dataset.real) < 2:
        raise UserError("one training text is too few: there must be 2, to be compared")
    return dataset


def vocabulary(config) -> Vocabulary:
    """That of the dataset. Texts are read for it, and refused as by `load`; the grammar needs no
    data.
    """
    return load(config).vocabulary if config.is_text else VOCABULARY


def described(config, dataset):
    """The config with what it leaves to the texts: their digest, and how many there are."""
    if not config.is_text:
        return config
    return dataclasses.replace(
        config,
        data_sha256=dataset.sha256,
        data_size=len(dataset.real),
        heldout_size=len(dataset.heldout),
    )


def _grammar(config):
    sizes = config.data_size, config.heldout_size
    real, heldout = (
        grammar(n, config.seq_len, [config.seed, stream]) for stream, n in enumerate(sizes)
    )
    return Dataset(VOCABULARY, real, heldout)


def _texts(config):
    """Texts from files, or from Python's help topics; those of more than --seq_len tokens are left
    out.
    """
    separator, length = text.SEPARATORS[config.tokens], config.seq_len
    if config.dataset == "pydoc":
        flag, lines, eval_lines = "dataset", text.python_help(), None
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    else:
        flag = "data_file"
        lines, digest = text.read(config.data_file, flag)
        eval_lines, eval_digest = (
            text.read(config.eval_file, "eval_file") if config.eval_file else (None, "")
        )
        digest = (
            hashlib.sha256((digest + eval_digest).encode()).hexdigest() if eval_digest else digest
        )

    def short(lines, flag):
        kept = [line for line in lines if len(text.split(line, separator)) <= length]
        if not kept:
            raise UserError(
                f"--{flag}={getattr(config, flag)} has no line of at most --seq_len={length} "
                f"{config.tokens}s"
            )
        return kept, len(lines) - len(kept)

    lines, left_out = short(lines, flag)
    if eval_lines is None:
        real, heldout = _split(lines, config, flag)
    else:
        real, (heldout, more) = lines, short(eval_lines, "eval_file")
        left_out += more
        heldout = _some(heldout, config.heldout_size)
    real = _some(real, config.data_size)
    vocabulary = Vocabulary.of(real, separator, config.vocab_size)
    if len(vocabulary) < 3:
        raise UserError(f"--{flag}={getattr(config, flag)} has no token but the unknown one")
    real, heldout = vocabulary.encode(real, length), vocabulary.encode(heldout, length)
    unknown = np.sum(heldout == vocabulary.unknown) / np.sum(vocabulary.lengths(heldout))
    remarks = [
        f"{len(real)} training and {len(heldout)} held-out texts, {len(vocabulary)} tokens with "
        "the end and the unknown one, "
        f"which {unknown:.1%} of the held-out tokens are"
    ]
    if left_out:
        remarks.append(
            f"{left_out} texts of more than --seq_len={length} {config.tokens}s are left out"
        )
    return Dataset(vocabulary, real, heldout, digest, tuple(remarks))


def _some(lines, size):
    """So many lines, from all over the file; all for None."""
    if size is None or size >= len(lines):
        return lines
    return [
        lines[i] for i in sorted(np.random.default_rng(_SPLIT_SEED).permutation(len(lines))[:size])
    ]


def _split(lines, config, flag):
    """Training and held-out lines. Lines that are equal stay together, so that none is on both
    sides.
    """
    distinct = list(dict.fromkeys(lines))
    size = min(config.heldout_size or len(distinct) // 10, len(distinct) // 2)
    if not size:
        few = f"has too few different lines ({len(distinct)}) to hold some out"
        raise UserError(f"--{flag}={getattr(config, flag)} {few}: add lines, or --eval_file")
    kept_out = set(_some(distinct, size))
    return [line for line in lines if line not in kept_out], sorted(kept_out)


def grammar(size, seq_len, seed):
    """Draws sequences of the grammar: int32 [size, T], x at the even places. seed: an int or a list
    of ints.
    """
    tokens = np.zeros([size, seq_len], np.int32)
    tokens[:, 1::2] = np.random.default_rng(seed).integers(
        1, OPERATORS + 1, size=tokens[:, 1::2].shape
    )
    return tokens


def entropy(seq_len):
    """Entropy of the grammar's law in nats per sequence: ln 4 for each operator."""
    return (seq_len // 2) * math.log(OPERATORS)


def support(seq_len):
    """How many sequences the grammar has, all equally likely."""
    return OPERATORS ** (seq_len // 2)


def unigram(seq_len):
    """Frequency of each symbol in the grammar's law, as a dict."""
    share = (seq_len // 2) / seq_len
    return {s: 1 - share if s == "x" else share / OPERATORS for s in VOCABULARY.symbols}


def minibatches(tokens, batch_size, steps, seed, skip=0):
    """The training data as an endless tf.data pipeline that can be entered anywhere.

    Args:
      tokens: int32 [N, T].
      batch_size: B <= N. Each epoch is a fresh permutation of the data; its last N mod B sequences
        are left out.
      steps: S, minibatches per element.
      seed: a stateless seed, two ints; the order depends on it and on the epoch's number alone.
      skip: elements to leave out at the start (those that an interrupted run has used).
    Returns:
      A dataset of int32 [S, B, T].
    """
    size, seq_len = tokens.shape
    per_epoch = size // batch_size
    tokens = tf.constant(tokens)

    def shuffled(epoch):
        order = tf.random.experimental.stateless_shuffle(
            tf.range(size), tf.random.experimental.stateless_fold_in(seed, epoch)
        )
        return tf.reshape(
            tf.gather(tokens, order[: per_epoch * batch_size]), [per_epoch, batch_size, seq_len]
        )

    first_epoch, offset = divmod(skip * steps, per_epoch)
    epochs = tf.data.Dataset.range(first_epoch, tf.int64.max).map(shuffled)
    if steps == per_epoch and offset == 0:
        return epochs.prefetch(1)
    return epochs.unbatch().skip(offset).batch(steps, drop_remainder=True).prefetch(1)
