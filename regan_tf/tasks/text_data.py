"""The texts that a run learns from: read, cut into tokens, some of them held out."""

import dataclasses
import hashlib

import numpy as np
import tensorflow as tf

from regan_tf.config import UserError
from regan_tf.tasks import text
from regan_tf.tasks.data import Dataset
from regan_tf.tasks.text import Vocabulary

_SPLIT_SEED = 0  # which texts are held out does not depend on the run's seed: runs can be compared
_COVERED, _LONGEST = 0.99, 256  # --seq_len by default: share of the lines, and at most
_MANY_UNKNOWN = 0.2  # of the held-out tokens: so many will spoil the samples


def load(config):
    """The Dataset of texts from files, or from Python's help topics; those of more than --seq_len
    tokens are left out. Raises UserError if they cannot serve.
    """
    flag = "data_file" if config.data_file else "dataset"
    lines, eval_lines, digest = _read(config)
    _require_re2(config.token_pattern)
    config = dataclasses.replace(config, seq_len=config.seq_len or _length(lines, config))
    lines, left_out = _short(lines, config, flag)
    if eval_lines is None:
        real, heldout = _split(lines, config, flag)
    else:
        real, (heldout, more) = lines, _short(eval_lines, config, "eval_file")
        left_out += more
        heldout = _some(heldout, config.heldout_size)
    real = _some(real, config.data_size)
    vocabulary = _vocabulary(real, config, flag)
    real, heldout = (vocabulary.encode(lines, config.seq_len) for lines in (real, heldout))
    remarks = _remarks(vocabulary, real, heldout, left_out, config)
    return Dataset(vocabulary, real, heldout, digest, tuple(remarks))


def _vocabulary(lines, config, flag):
    separator, pattern = text.SEPARATORS[config.tokens], config.token_pattern
    vocabulary = Vocabulary.of(lines, separator, config.vocab_size, pattern)
    if len(vocabulary) < 3:
        raise UserError(
            f"--{flag}={getattr(config, flag)} has no token but the unknown one: no "
            f"{config.tokens} occurs twice; give more texts"
            + (", or take --tokens=char" if config.tokens == "word" else "")
        )
    return vocabulary


def _remarks(vocabulary, real, heldout, left_out, config):
    """What the user should know of the texts, in lines."""
    unknown = np.sum(heldout == vocabulary.unknown) / np.sum(vocabulary.lengths(heldout))
    yield (
        f"{len(real)} training and {len(heldout)} held-out texts, {len(vocabulary)} tokens with "
        f"the end and the unknown one, which {unknown:.1%} of the held-out tokens are"
    )
    if unknown >= _MANY_UNKNOWN:
        ways = ["give more texts"]
        if len(vocabulary) == config.vocab_size:
            ways.insert(0, f"raise --vocab_size (now {config.vocab_size})")
        if config.tokens == "word":
            ways.append("take --tokens=char")
        yield (
            f"warning: {unknown:.0%} of the held-out tokens are unknown, and will be in samples: "
            f"{', or '.join(ways)}"
        )
    if left_out:
        longest = f"--seq_len={config.seq_len} {config.tokens}s"
        yield f"{left_out} texts of more than {longest} are left out"


def _read(config):
    """Lines, those of --eval_file or None, and the digest of both."""
    if not config.data_file:
        lines = text.python_help()
        return lines, None, hashlib.sha256("\n".join(lines).encode()).hexdigest()
    lines, digest = text.read(config.data_file, "data_file")
    if not config.eval_file:
        return lines, None, digest
    eval_lines, eval_digest = text.read(config.eval_file, "eval_file")
    return lines, eval_lines, hashlib.sha256((digest + eval_digest).encode()).hexdigest()


def _require_re2(pattern):
    """Raises UserError for a --token_pattern that a served model could not split prompts by."""
    try:
        tf.strings.regex_replace("", text.token_regex(pattern), "")
    except tf.errors.InvalidArgumentError as error:
        reason = error.message.partition("error: ")[2] or error.message
        raise UserError(
            f"--token_pattern={pattern} is not allowed: it must be a regular expression of RE2, "
            f"too, by which a served model splits ({reason.partition(' [Op:')[0]})"
        ) from None


def _count(line, config):
    """How many tokens a line has."""
    return len(text.split(line, text.SEPARATORS[config.tokens], config.token_pattern))


def _length(lines, config):
    """T that fits the lines: nearly all are kept whole, and one that is far longer than the others
    does not cost them time.
    """
    lengths = [_count(line, config) for line in lines]
    covering = int(np.quantile(lengths, _COVERED, method="inverted_cdf"))
    return int(np.clip(covering, 3, _LONGEST))


def _short(lines, config, flag):
    """The lines of at most --seq_len tokens, and how many others there are."""
    length = config.seq_len
    kept = [line for line in lines if _count(line, config) <= length]
    if not kept:
        raise UserError(
            f"--{flag}={getattr(config, flag)} has no line of at most --seq_len={length} "
            f"{config.tokens}s"
        )
    return kept, len(lines) - len(kept)


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
