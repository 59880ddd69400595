"""Which flags may not stand together, and what is said of those that do."""

import itertools
import math
import re

from regan_tf.spec import NO_CRITIC, NO_REUSE

_OF_DISCRIMINATORS = ("discriminator", "discriminator_dropout", "discriminator_weight_decay")
_OF_MEDIATORS = ("mediator_dim", "mediator_learning_rate")
_OF_LIKELIHOOD = ("dropout", "weight_decay")
_OF_ORACLES = ("oracle_file", "oracle_seed", "oracle_dim", "oracle_scale", "test_size")


def complaint(config) -> str | None:
    """The first thing that is wrong with a `Config` whose flags are right each by itself, and whose
    `estimator_spec` is right, or None.
    """
    checks = (
        _data,
        _pattern,
        _alphabet,
        _oracle,
        _metric,
        _steps,
        _prefixes,
        _whole,
        _row_parts,
        _replay,
        _critic,
        _mediator,
        _discriminator,
        _likelihood,
        _calls,
    )
    return next(itertools.chain.from_iterable(check(config) for check in checks), None)


def _data(config):
    most, batch_size = config.default("data_size") or math.inf, config.default("batch_size")
    if batch_size > most:
        yield f"--batch_size={batch_size} is not allowed: at most --data_size={most}"
    if config.dataset == "text" and not config.data_file:
        yield "--dataset=text needs --data_file"
    if config.data_file and config.dataset != "text":
        yield f"--data_file={config.data_file} needs --dataset=text (now {config.dataset})"
    if config.eval_file and not config.data_file:
        yield (
            f"--eval_file={config.eval_file} contradicts --dataset={config.dataset}: it goes with "
            "--data_file"
        )


def _metric(config):
    if config.metric and config.metric not in config.metrics:
        yield (
            f"--metric={config.metric} contradicts --dataset={config.dataset}: take one of "
            f"{', '.join(config.metrics)}"
        )


def _pattern(config):
    if not config.token_pattern:
        return
    flag = f"--token_pattern={config.token_pattern}"
    if not config.is_text:
        yield f"{flag} contradicts --dataset={config.dataset}: it goes with texts"
    if config.tokens != "char":
        yield f"{flag} contradicts --tokens={config.tokens}: add --tokens=char"
    try:
        found = list(re.finditer(f"(?:{config.token_pattern})", "a  .b", re.ASCII))
    except re.error as error:
        yield f"{flag} is no regular expression: {error}"
    else:
        if not all(match[0] for match in found):
            yield f"{flag} is not allowed: it matches where there is no character"


def _alphabet(config):
    letters, is_uniform = config.alphabet, config.dataset == "uniform"
    if letters and not is_uniform:
        yield f"--alphabet={letters} needs --dataset=uniform (now {config.dataset})"
    if is_uniform and not (letters and config.seq_len):
        missing = "--seq_len" if letters else "--alphabet"
        yield f"--dataset=uniform needs {missing}"
    distinct = set(letters)
    if is_uniform and (
        not 2 <= len(distinct) == len(letters) or not letters.isprintable() or " " in letters
    ):
        yield (
            f"--alphabet={letters} is not allowed: it must have two printable letters or more, "
            "each once, and no white space"
        )


def _oracle(config):
    given = _given(config, _OF_ORACLES)
    if given and config.dataset != "oracle":
        yield f"{_flag(config, given[0])} needs --dataset=oracle (now {config.dataset})"
    drawn = [name for name in given if name.startswith("oracle_") and name != "oracle_file"]
    if drawn and config.oracle_file:
        yield (
            f"{_flag(config, drawn[0])} contradicts --oracle_file={config.oracle_file}, which has "
            "the parameters"
        )
    size, most = config.default("eval_samples"), config.test_size
    if config.dataset == "oracle" and size > most:
        yield f"--eval_samples={size} is not allowed: at most --test_size={most}"


def _given(config, names):
    """Those that are not as they are by default."""
    return [name for name in names if getattr(config, name) != getattr(type(config), name)]


def _flag(config, name):
    return f"--{name}={getattr(config, name)}"


def _steps(config):
    if config.track_variance and config.batch_size == 1:
        yield "--batch_size=1 is not allowed with --track_variance: it must be at least 2"
    spec = config.estimator_spec
    if config.reward_weight < 1 and not config.reward:
        yield f"--reward_weight={config.reward_weight} needs --reward"
    if config.d_steps == 0 and config.reward_weight < 1:
        yield (
            f"--d_steps=0 contradicts --reward_weight={config.reward_weight}, by which the "
            "discriminator rewards, too; --reward_weight=1 leaves it out"
        )
    if config.d_steps == 0 and spec.traits.mediator:
        yield (
            f"--d_steps=0 contradicts --estimator={spec.estimator}, which follows its mediator; "
            "mle does not"
        )
    elif config.d_steps == 0 and not spec.traits.is_likelihood and config.rewards_by_discriminator:
        yield (
            f"--d_steps=0 contradicts --estimator={spec.estimator}, which is rewarded by the "
            "discriminator; mle is not"
        )
    if config.iterations == 0 and config.default("pretrain_epochs") == 0:
        yield "--iterations=0 contradicts --pretrain_epochs=0: one of them must be above 0"


def _prefixes(config):
    spec = config.estimator_spec
    if not config.judge_prefixes:
        if config.dense_reward:
            yield "--dense_reward needs --judge_prefixes: only then are prefixes rewarded"
        if config.discount < 1:
            yield (
                f"--discount={config.discount} needs --judge_prefixes: else all of a reward comes "
                "at the end"
            )
        return
    if config.reward:
        yield f"--judge_prefixes contradicts --reward={config.reward}, which is of whole sequences"
    if not spec.may_credit_tokens:
        yield (
            f"--judge_prefixes contradicts --estimator={spec.estimator}: take reinforce_loo, "
            "reinforce, actor_critic or doubly_robust"
        )
    if config.discount < 1 and spec.traits.critic:
        yield (
            f"--discount={config.discount} contradicts --estimator={spec.estimator}, whose critic "
            "sums what is to come without one: take reinforce_loo or reinforce"
        )


def _whole(config):
    if config.discriminator == "lstm":
        return
    whole = f"--discriminator={config.discriminator}, which judges whole sequences alone: take lstm"
    if config.judge_prefixes:
        yield f"--judge_prefixes contradicts {whole}"
    if config.critic_reads == "next" and config.rewards_by_discriminator:
        yield f"--critic_reads=next contradicts {whole}, or prefix"


def _row_parts(config):
    batch_size = config.default("batch_size")
    if batch_size % config.row_parts or 1 < config.row_parts > batch_size // 2:
        yield (
            f"--row_parts={config.row_parts} is not allowed: it must divide "
            f"--batch_size={batch_size}, two rows a part"
        )
    elif not config.estimator_spec.divides(batch_size // config.row_parts):
        yield (
            f"--row_parts={config.row_parts} contradicts --sampling={config.sampling}, for which "
            "a part needs an even number of rows, at least 4"
        )
    if config.row_parts > 1 and config.distribution != "none":
        yield (
            f"--row_parts={config.row_parts} contradicts --distribution={config.distribution}: "
            "take more replicas"
        )
    if config.row_parts > 1 and config.updates_per_batch > 1:
        yield (
            f"--row_parts={config.row_parts} contradicts "
            f"--updates_per_batch={config.updates_per_batch}: take a smaller --batch_size"
        )


def _replay(config):
    spec = config.estimator_spec
    if not config.replay:
        return
    if not config.reward:
        yield f"--replay={config.replay} needs a --reward of texts or tokens"
    if not spec.may_reuse:
        yield f"--replay={config.replay} contradicts --estimator={spec.estimator}, {NO_REUSE}"
    if config.reward_weight < 1:
        yield (
            f"--replay={config.replay} contradicts --reward_weight={config.reward_weight}: what "
            "the discriminator thinks of a sequence does not last"
        )
    if config.distribution == "multi_worker":
        yield (
            f"--replay={config.replay} contradicts --distribution=multi_worker, whose workers "
            "have other sequences each"
        )


def _critic(config):
    spec = config.estimator_spec
    if config.critic_replay and spec.traits.critic is None:
        yield (
            f"--critic_replay={config.critic_replay} contradicts --estimator={spec.estimator}, "
            f"{NO_CRITIC}"
        )
    if config.critic_replay and config.reward and config.reward_weight < 1:
        yield (
            f"--critic_replay={config.critic_replay} contradicts "
            f"--reward_weight={config.reward_weight}: what the discriminator thinks of a sequence "
            "does not last"
        )


def _mediator(config):
    spec = config.estimator_spec
    if spec.traits.mediator and config.reward:
        yield (
            f"--reward={config.reward} contradicts --estimator={spec.estimator}, which follows its "
            "mediator instead"
        )
    given = _given(config, _OF_MEDIATORS)
    if config.mediator_dim == config.default("generator_dim"):  # as runs without one may record
        given = [name for name in given if name != "mediator_dim"]
    if given and not spec.traits.mediator:
        yield (
            f"{_flag(config, given[0])} contradicts --estimator={spec.estimator}, which has no "
            "mediator; cot and cot_unbiased have"
        )


def _discriminator(config):
    given = _given(config, _OF_DISCRIMINATORS)
    if not given or config.trains_discriminator:
        return
    flag, estimator = _flag(config, given[0]), f"--estimator={config.estimator_spec.estimator}"
    if config.estimator_spec.traits.mediator:
        yield f"{flag} contradicts {estimator}, which has a mediator and no discriminator"
    elif config.reward:
        yield (
            f"{flag} contradicts --reward={config.reward}, without which the discriminator would "
            "be trained; a --reward_weight below 1 trains it beside"
        )
    else:
        yield f"{flag} contradicts --d_steps=0, by which no discriminator is trained"


def _likelihood(config):
    given, traits = _given(config, _OF_LIKELIHOOD), config.estimator_spec.traits
    has_some = config.default("pretrain_epochs") or traits.is_likelihood or traits.mediator
    if given and not has_some:
        yield (
            f"{_flag(config, given[0])} needs maximum likelihood: --pretrain_epochs above 0, or "
            "--estimator=mle or cot"
        )


def _calls(config):
    calls, needed = config.reward_calls, config.most_asked
    if calls and not config.reward:
        yield f"--reward_calls={calls} needs a --reward, of texts or tokens"
    if 0 < calls < needed:
        yield (
            f"--reward_calls={calls} is not allowed: an iteration may ask for {needed} "
            "sequences (see --batch_size, --g_steps, --rollouts)"
        )
    if calls and config.distribution == "multi_worker":
        yield (
            f"--reward_calls={calls} contradicts --distribution=multi_worker, of which each "
            "worker makes calls of its own: take --reward_workers or mirrored"
        )
