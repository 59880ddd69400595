"""How much memory a generator update takes, before it is tried."""

import os
from pathlib import Path

from regan_tf.config import UserError
from regan_tf.networks.convolutional import EMBED_DIM, filters_of_widths
from regan_tf.networks.noise import by_inversion

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def update_bytes(config, vocab_size, replicas=1):
    """An estimate of what one generator update allocates on a replica, in bytes.

    Tensors [rows, T, V], rows = B / (row_parts x replicas), and those of the LSTMs' states count;
    with look-ahead there are T of each (rollout), with several continuations N T
    (reinforce_rollout).

    Args:
      config: a resolved Config.
      vocab_size: V.
      replicas: that share the minibatch.
    """
    steps = config.batch_size * config.seq_len / config.row_parts / replicas
    traits, copies = config.estimator_spec.traits, config.control_samples
    if config.control_variate == "rollout":
        copies *= config.seq_len / 2
    judged = 1  # times as many sequences as are drawn
    if traits.reward_per_token and by_inversion(vocab_size):  # a continuation after the other
        judged = config.seq_len
    elif traits.reward_per_token:
        copies *= config.rollouts * config.seq_len
    is_lstm = config.discriminator == "lstm"
    units = config.generator_dim + is_lstm * config.discriminator_dim
    per_cell, per_state = _alive_at_once(traits)
    if traits.critic:  # Q and its weights; what it reads, and its own hidden layers
        per_cell, per_state = per_cell + 3, per_state + 7
        if config.critic_reads == "next":  # a cell step of the discriminator for each
            per_cell += 12 * config.discriminator_dim
    if config.reads_prior or traits.mediator:  # its pass, and what the penalty's gradient keeps
        per_cell, per_state = per_cell + 8, per_state + 7
    if traits.mediator:  # whose own step takes no more, with twice the rows
        units += config.mediator_dim or config.generator_dim
    floats = copies * steps * (per_cell * vocab_size + per_state * units)
    if not is_lstm:
        floats += judged * copies * steps * _of_convolutions(config, vocab_size)
    sizes = vocab_size * (config.embed_dim + config.generator_dim) + 4 * config.generator_dim * (
        config.embed_dim + config.generator_dim
    )
    return 4 * (floats + 6 * sizes)  # weights, gradients, Adam's two moments, their update


def available_bytes():
    """The memory of this machine, or the limit that is set to this process."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.exists() else "max"
    return min(physical, int(limit)) if limit.isdigit() else physical


def _alive_at_once(traits):
    """Tensors of [rows, T, V] and of [rows, T, units] that are alive at once, as `benchmark
    --growth` finds them.
    """
    if traits.has_c_hat:
        return 23, 90
    if traits.relaxed:
        return 19, 50
    return (14, 50) if traits.tokens == "straight_through" else (6, 25)


def _of_convolutions(config, vocab_size):
    """Floats of a convolutional discriminator a row and step: what it embeds and finds. In the step
    form it reads T sequences a row, since it has no verdicts on prefixes.
    """
    filters = filters_of_widths(config.seq_len, config.discriminator_dim)
    width, spec = EMBED_DIM + sum(filters.values()), config.estimator_spec
    if not spec.differentiates_reward:
        return width
    by_prefix = spec.traits.relaxed and spec.control_variate == "step"
    return config.seq_len * (4 * width + 3 * vocab_size) if by_prefix else 4 * width


def require(config, vocab_size, replicas=1):
    """The estimate in bytes. Raises UserError if an update cannot fit, before anything is spent on
    it.
    """
    needed, available = update_bytes(config, vocab_size, replicas), available_bytes()
    if needed > available:
        raise UserError(
            f"an update with --batch_size={config.batch_size} needs about {needed / 2**30:.0f} "
            f"GiB, and there are {available / 2**30:.0f}: take a smaller one, or a larger "
            f"--row_parts (now {config.row_parts})"
        )
    return needed
