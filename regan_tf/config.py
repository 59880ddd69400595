"""The configuration of one run: every default with its unit and source, and the checks that refuse
a bad one.

The command-line flags are made from these fields (`cli/config_flags.py`), so that a flag, its
default, its help and its check stand in one place. This module imports no TensorFlow: a bad flag is
refused at once.
"""

import dataclasses
import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regan_tf import combinations
from regan_tf.defaults import DEFAULTS, METRICS, REPLAY_MEMORY, TEXTS, UNTIL_CALLS
from regan_tf.settings import SettingError, check, check_name, same_as, setting
from regan_tf.spec import ESTIMATORS, EstimatorSpec, PenaltyWeights

_PATHS = ("data_file", "eval_file", "oracle_file", "start_from")
_PLACES = (*_PATHS, "reward")  # which may be a file's function


def absolute(name: str, value: Any) -> Any:
    """The value of a field, absolute if it is a path."""
    return os.path.abspath(value) if value and name in _PATHS else value


def without_directory(name: str, value: Any) -> Any:
    """The value of a field, of a path its last part alone: what may leave this machine."""
    return os.path.basename(value) if value and name in _PLACES else value


class UserError(Exception):
    """Something that the user can put right: shown as one line, without a traceback; the exit code
    is 1.
    """


@dataclass(frozen=True)
class Config:
    """One run. A None is resolved by `resolved`, from the other fields."""

    # What is trained.
    estimator: str | None = same_as(
        EstimatorSpec,
        "estimator",
        default=None,
        doc="Estimator of the generator's gradient (sections 3.1-3.3), by default rebar for the "
        "grammar, else reinforce_loo; mle: maximum likelihood goes on.",
    )
    control_variate: str = same_as(EstimatorSpec, "control_variate")
    leave_one_out: bool = same_as(EstimatorSpec, "leave_one_out")
    baseline: str = same_as(EstimatorSpec, "baseline")
    sampling: str = same_as(EstimatorSpec, "sampling")
    temperature: float = same_as(EstimatorSpec, "temperature")
    eta: float = same_as(EstimatorSpec, "eta")
    learn_temperature: bool = same_as(EstimatorSpec, "learn_temperature")
    learn_eta: bool = same_as(EstimatorSpec, "learn_eta")
    variance_loss: str = same_as(EstimatorSpec, "variance_loss")
    control_samples: int = same_as(EstimatorSpec, "control_samples")
    rollouts: int = same_as(EstimatorSpec, "rollouts")
    critics: int = same_as(EstimatorSpec, "critics")
    critic_target: str = same_as(EstimatorSpec, "critic_target")
    critic_reads: str = same_as(EstimatorSpec, "critic_reads")
    critic_steps: int = setting(
        4,
        "Steps of a critic's regression after an update, each on other rows of its batch.",
        at_least=1,
    )
    critic_rows: int = setting(32, "Rows of such a step.", at_least=1)
    critic_replay: int = setting(
        0,
        "Recent minibatches of sequences, of each of which there is one such step besides, before "
        "an update: of the discriminator's negatives, or with a --reward of the updates.",
        at_least=0,
    )
    updates_per_batch: int = same_as(EstimatorSpec, "updates_per_batch")
    clip: float = same_as(EstimatorSpec, "clip")
    sigma: float = same_as(EstimatorSpec, "sigma")
    reward: str = setting(
        "",
        "module:function or file.py:function, a reward to train for instead of the discriminator: "
        "of texts or tokens (regan_tf.text_reward, token_reward); or of rows [B, T, V] -> [B] in "
        "TensorFlow ops, for rebar, relax, straight_through and reinmax differentiable, and "
        "continuous: with jumps they are biased.",
    )
    reward_workers: int = setting(
        0,
        "Processes that compute a --reward of texts or tokens, where it is slow; 0: this one.",
        at_least=0,
        extends=True,
    )
    replay: int = setting(
        0,
        f"Sequences out of the {REPLAY_MEMORY} best so far that each update takes besides, without "
        "another call of the --reward of texts or tokens; biased.",
        at_least=0,
        at_most=REPLAY_MEMORY,
    )
    reward_calls: int = setting(
        0,
        "Calls of a --reward of texts or tokens, one for each different sequence, after which the "
        "run ends; 0: any number. A higher one goes on.",
        at_least=0,
        extends=True,
    )
    reward_weight: float = setting(
        1.0,
        "Weight w of --reward beside the discriminator, w R + (1 - w) D; below 1 the discriminator "
        "is trained, too.",
        above=0,
        at_most=1,
    )
    judge_prefixes: bool = setting(
        False,
        "Train the discriminator on every prefix, and reward a sequence by its logit, a token by "
        "what is then still to come of it (reinforce, reinforce_loo, actor_critic, doubly_robust).",
    )
    dense_reward: bool = setting(
        False,
        "With --judge_prefixes: each token gets 2 D - 1 of the prefix that it ends, D being the "
        "probability, instead of what it adds to the logit (ScratchGAN).",
    )
    discount: float = setting(
        1.0,
        "With --judge_prefixes: by how much a token's later rewards count less, a step each. Below "
        "1 updates follow no gradient of a mean reward.",
        above=0,
        at_most=1,
    )
    prior_kl: float = same_as(PenaltyWeights, "prior_kl")
    entropy: float = same_as(PenaltyWeights, "entropy")
    # Data, section 4.1.
    dataset: str = setting(
        "grammar",
        "The paper's grammar (section 4.1); text: a --data_file; pydoc: sentences of Python's own "
        "help; uniform: random letters of an --alphabet, where there is a --reward and no data; "
        "oracle: words of a random LSTM, whose law is known (SeqGAN's benchmark).",
        choices=tuple(METRICS),
        inherited=True,
    )
    alphabet: str = setting(
        "",
        "Letters of --dataset=uniform, as ACGU, each a token; all are equally likely.",
        inherited=True,
    )
    oracle_file: str = setting(
        "",
        "Parameters of --dataset=oracle, an .npz of NumPy; by default they are drawn.",
        inherited=True,
    )
    oracle_seed: int = setting(
        0, "Seed by which an oracle's parameters are drawn, normal.", at_least=0, inherited=True
    )
    oracle_dim: int = setting(
        32, "Size of its embedding and of its LSTM's state.", at_least=1, inherited=True
    )
    oracle_scale: float = setting(
        1.0, "Standard deviation of its parameters.", above=0, inherited=True
    )
    test_size: int = setting(
        10_000,
        "Sequences of an oracle that test generators and choose none.",
        at_least=2,
        inherited=True,
    )
    data_file: str = setting("", "Texts to learn from, one a line, UTF-8.", inherited=True)
    eval_file: str = setting(
        "", "Held-out texts; by default some lines of --data_file.", inherited=True
    )
    tokens: str = setting(
        "word",
        "What a text is cut into: words (at white space), or characters.",
        choices=("word", "char"),
        inherited=True,
    )
    token_pattern: str = setting(
        "",
        "With --tokens=char: a regular expression, each match of which is one token, too, in the "
        "syntax that Python (re.ASCII) and RE2 share.",
        inherited=True,
    )
    vocab_size: int = setting(
        5_000,
        "Of texts: the most frequent tokens that occur twice are kept, so many with the end and "
        "the unknown token. Of an oracle: its words; of an --oracle_file as many as it has.",
        at_least=3,
        inherited=True,
    )
    seq_len: int | None = setting(
        None,
        "Sequence length T; the paper uses 3 (default) and 15; of an oracle by default 20. Longer "
        "texts are left out; by default 99 % of them are not longer, and it is at most 256.",
        at_least=3,
        optional=True,
        inherited=True,
    )
    data_size: int | None = setting(
        None,
        "Training sequences: by default 10,000 (section 4.1), of a text all.",
        at_least=1,
        optional=True,
        inherited=True,
    )
    heldout_size: int | None = setting(
        None,
        "Held-out sequences: by default 1,000; of a text a tenth of its lines, or all of "
        "--eval_file.",
        at_least=1,
        optional=True,
        inherited=True,
    )
    data_sha256: str = setting(
        "",
        "Refuse other texts than these; a run records that of its own.",
        optional=True,
        inherited=True,
    )
    # Networks, section 4.3 (the paper gives no sizes).
    embed_dim: int | None = setting(
        None,
        "Size of the generator's token embedding; by default 32, for texts 128.",
        at_least=1,
        inherited=True,
    )
    generator_dim: int | None = setting(
        None,
        "Hidden units of the generator's LSTM; by default 32, for texts 128.",
        at_least=1,
        inherited=True,
    )
    discriminator: str = setting(
        "lstm",
        "What the discriminator is: an LSTM, or convolutions over whole sequences (cnn; SeqGAN).",
        choices=("lstm", "cnn"),
    )
    discriminator_dim: int = setting(
        32,
        "Hidden units of the discriminator's LSTM; of its convolutions the filters of width 1 (the "
        "wider ones have up to twice as many; SeqGAN: 100).",
        at_least=1,
    )
    control_filters: int = setting(
        32, "Filters of relax's convolutions (sequence form).", at_least=1
    )
    control_units: int = setting(
        64, "Units of relax's hidden layers (step and rollout form).", at_least=1
    )
    mediator_dim: int = setting(
        0,
        "Hidden units of cot's mediator, a generator; 0: the generator's. As large, it starts as "
        "the pre-trained generator, else from random weights.",
        at_least=0,
    )
    critic_units: int = setting(32, "Units of a critic's hidden layers.", at_least=1)
    # Training, Algorithm 1.
    start_from: str = setting(
        "",
        "Directory of a run, whose last generator is where this one starts, with the same data "
        "and sizes; without --pretrain_epochs there is no further pre-training.",
    )
    batch_size: int | None = setting(
        None,
        "Sequences per minibatch (BATCH_SIZE); by default 128, for texts and uniform 32, "
        "for oracles 64.",
        at_least=1,
    )
    pretrain_epochs: float | None = setting(
        None,
        "Epochs of maximum likelihood first (PRE_EPOCH_GEN), or a fraction; by default 1 for "
        "short, 3 for long, at most 200 for texts and oracles.",
        at_least=0,
    )
    pretrain_learning_rate: float | None = setting(
        None,
        "Adam's learning rate in pre-training; by default such that the adversarial phase starts "
        "about where the paper's curves start, 3e-3 for texts, 1e-2 for oracles.",
        above=0,
    )
    pretrain_decay: bool = setting(
        False, "Let that rate fall to 0, by half a cosine over all of pre-training."
    )
    dropout: float = same_as(EstimatorSpec, "dropout")
    weight_decay: float = setting(
        0.0,
        "By how much the matrices of the generator, and of cot's mediator, shrink at each step of "
        "maximum likelihood, in units of its learning rate, as in AdamW.",
        at_least=0,
    )
    pretrain_patience: int | None = setting(
        None,
        "Epochs without a lower held-out NLL after which pre-training ends; the best generator "
        "goes on. 0 (default, but 2 for texts and oracles): all epochs.",
        at_least=0,
    )
    iterations: int | None = setting(
        None,
        "Adversarial iterations; by default 200 for short, 234 for long, with --reward_calls as "
        "many as these take. A higher one goes on.",
        at_least=0,
        extends=True,
    )
    g_steps: int = setting(1, "Generator updates per iteration.", at_least=1)
    d_steps: int | None = setting(
        None,
        "Discriminator minibatches after each generator update; by default one epoch of the data, "
        "10 for texts and oracles; of cot its mediator's. 0: none (mle).",
        at_least=0,
    )
    generator_learning_rate: float | None = setting(
        None,
        "Adam's learning rate for the generator; by default 1e-2, for texts 1e-4, for "
        "oracles 1e-3.",
        above=0,
    )
    discriminator_learning_rate: float = setting(
        1e-3, "Adam's learning rate for the discriminator.", above=0
    )
    discriminator_beta_2: float = setting(
        0.999,
        "Of its Adam: how slowly the size of past gradients is forgotten. Near 1, the large ones "
        "of its first iterations make its later steps small.",
        above=0,
        at_most=0.9999,
    )
    discriminator_dropout: float = setting(
        0.0,
        "Share of the units that its last layer reads which are left out while it is trained, "
        "others for each sequence. Rewards are without.",
        at_least=0,
        at_most=0.99,
    )
    discriminator_weight_decay: float = setting(
        0.0,
        "Of its Adam, decoupled (AdamW): in a step its matrices, but no biases, lose this share of "
        "themselves, times its rate.",
        at_least=0,
    )
    decay_iterations: int = setting(
        0,
        "Adversarial iterations in which the generator's rate and --entropy fall to 0, by half a "
        "cosine; 0: they stay. The discriminator's rate stays, so that it can still answer.",
        at_least=0,
    )
    control_learning_rate: float = setting(
        1e-3, "Adam's learning rate for c_hat, eta and lambda.", above=0
    )
    mediator_learning_rate: float = setting(
        1e-3, "Adam's learning rate for cot's mediator.", above=0
    )
    critic_learning_rate: float = setting(1e-2, "Adam's learning rate for critics.", above=0)
    seed: int = setting(
        0, "Seed of everything random: data, weights, order, noise.", at_least=0, at_most=2**31 - 1
    )
    threads: int = setting(
        1, "CPU threads; one is fastest at the paper's sizes. 0: TensorFlow's choice.", at_least=0
    )
    precision: str = setting(
        "float32",
        "Of matrix products; bfloat16 is faster for large networks on CPUs that have it.",
        choices=("float32", "bfloat16"),
    )
    distribution: str = setting(
        "none",
        "Split every minibatch over the GPUs of this machine (mirrored) or the workers of "
        "TF_CONFIG (multi_worker); the numbers are those of one.",
        choices=("none", "mirrored", "multi_worker"),
        extends=True,
    )
    row_parts: int = setting(
        1,
        "Parts in which a generator update takes its rows, one after the other, to save memory.",
        at_least=1,
    )
    # Measuring.
    track_variance: bool = setting(
        True, "Measure the variance of the gradient over the minibatch at each update."
    )
    eval_every: int = setting(10, "Iterations between evaluation points.", at_least=1)
    eval_samples: int | None = setting(
        None,
        "Sequences sampled at an evaluation point; by default 10,000, of an oracle 1,000, of "
        "texts 2,000, or as many as there are to learn from.",
        at_least=2,
    )
    metric: str | None = setting(
        None,
        "Metric that tells the best generator, and stops early; by default goodness, for texts "
        "and oracles nll, with a --reward its mean over the updates since the last evaluation "
        "point.",
        choices=(*dict.fromkeys(itertools.chain(*METRICS.values())), "reward"),
    )
    patience: int = setting(
        0,
        "Evaluation points without a better --metric after which the run has converged; 0: never.",
        at_least=0,
        extends=True,
    )
    checkpoint_every: int = setting(10, "Iterations between checkpoints.", at_least=1, extends=True)
    # Where.
    workdir: str = setting(
        "",
        "Directory of the run; by default runs/<time>-<estimator>-<length or texts>.",
        local=True,
    )
    export_dir: str = setting(
        "export", "SavedModels go to <export_dir>/<model_name>/<version>.", local=True
    )
    model_name: str = setting(
        "",
        "Name of the exported model; by default regan-<estimator>-<length or texts>.",
        local=True,
    )
    export_generator: str = setting(
        "last", "Which generator to export.", choices=("last", "best", "none"), local=True
    )

    def __post_init__(self):
        try:
            check(self)
            check_name("model_name", self.model_name)
            self.estimator_spec.check_batch(self.default("batch_size"))
            self.estimator_spec.check_penalty(self.penalty_weights)
        except SettingError as error:
            raise UserError(error.of_flags()) from None
        if complaint := combinations.complaint(self):
            raise UserError(complaint)

    @property
    def estimator_spec(self) -> EstimatorSpec:
        """The estimator that the flags describe. Raises SettingError where they do not fit."""
        names = {f.name for f in dataclasses.fields(EstimatorSpec)} - {"coupled", "estimator"}
        settings = {name: getattr(self, name) for name in names}
        estimator = self.default("estimator")
        if not ESTIMATORS[estimator].is_likelihood:  # it is pre-training's alone
            del settings["dropout"]
        return EstimatorSpec(estimator, **settings)

    @property
    def most_asked(self) -> int:
        """How many different sequences an iteration may ask a --reward for: the minibatches, where
        each token has continuations these, too; while T is not known as if it were 1.
        """
        spec, length = self.estimator_spec, self.default("seq_len") or 1
        continued = spec.rollouts * (length - 1) if spec.traits.reward_per_token else 0
        return self.g_steps * self.default("batch_size") * (1 + continued)

    @property
    def rewards_by_discriminator(self) -> bool:
        """Whether the discriminator is the reward, or part of it."""
        is_asked = not self.reward or self.reward_weight < 1
        return is_asked and not self.estimator_spec.traits.mediator

    @property
    def trains_discriminator(self) -> bool:
        """Whether the run does."""
        return self.rewards_by_discriminator and self.default("d_steps") != 0

    @property
    def penalty_weights(self) -> PenaltyWeights:
        """What the penalty weighs."""
        return PenaltyWeights(self.prior_kl, self.entropy)

    @property
    def reads_prior(self) -> bool:
        """Whether updates read the prior, which is the generator as pre-training left it."""
        return self.estimator_spec.traits.reads_prior or not self.penalty_weights.are_zero

    @property
    def keeps_prior(self) -> bool:
        """Whether the run has it: also where a reward of one's own leads away from the data."""
        return bool(self.reward) or self.reads_prior

    def default(self, name: str) -> Any:
        """A field's value, or what it is by default."""
        value = getattr(self, name)
        return self._defaults.get(name) if value is None else value

    @property
    def _defaults(self):
        found = DEFAULTS[self.dataset](self)
        if self.start_from:
            found["pretrain_epochs"] = 0.0
        if self.reward_calls:
            found["iterations"] = UNTIL_CALLS
        return found

    def resolved(self) -> "Config":
        """The run with every None replaced but those that the data decide (`Task.completed`), and
        the paths of texts absolute: it may go on from another directory.
        """
        defaults = self._defaults | {"metric": self.metrics[0]}
        missing = {n: value for n, value in defaults.items() if getattr(self, n) is None}
        if self.iterations == UNTIL_CALLS:  # of a run's flagfile, perhaps without its budget
            missing["iterations"] = defaults["iterations"]
        found = dataclasses.replace(self, **missing)
        paths = {name: absolute(name, getattr(self, name)) for name in _PATHS}
        model_name = self.model_name or f"regan-{found.name}"
        file, separator, function = self.reward.rpartition(":")
        if file.endswith(".py"):
            paths["reward"] = f"{os.path.abspath(file)}{separator}{function}"
        return dataclasses.replace(found, model_name=model_name, **paths)

    @property
    def name(self) -> str:
        """What to call the run: <estimator>-<length or texts>."""
        return f"{self.estimator}-{self._kind}"

    @property
    def is_text(self) -> bool:
        """Whether it is one of texts."""
        return self.dataset in TEXTS

    @property
    def metrics(self) -> tuple[str, ...]:
        """What --metric may be; the first is the default."""
        return (("reward",) if self.reward else ()) + METRICS[self.dataset]

    @property
    def _kind(self):
        if self.is_text:
            return f"{re.sub(r'[^A-Za-z0-9_.]+', '_', self.text_name)}-{self.tokens}"
        return f"{self.seq_len}" if self.dataset == "grammar" else f"{self.dataset}-{self.seq_len}"

    @property
    def text_name(self):
        """What to call the texts."""
        return Path(self.data_file).stem or self.dataset
