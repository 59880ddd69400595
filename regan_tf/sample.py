"""Prints sequences from a trained run.

python -m regan_tf.sample --workdir=RUN --num=20 --seed=7
python -m regan_tf.sample --workdir=RUN --format=jsonl --temperature=0.5 --prefix="x+"
"""

import json

from absl import flags

from regan_tf.cli import command, config_flags
from regan_tf.config import UserError

_WORKDIR = flags.DEFINE_string("workdir", "", "Directory of the run.")
_NUM = flags.DEFINE_integer("num", 10, "How many sequences.", lower_bound=1, upper_bound=10**7)
_SEED = flags.DEFINE_integer(
    "seed",
    0,
    "Seed of the draw: the same seed gives the same sequences.",
    lower_bound=0,
    upper_bound=2**31 - 1,
)
_TEMPERATURE = flags.DEFINE_float(
    "sampling_temperature", 1.0, "Divides the logits: below 1 is surer, above 1 more varied."
)
flags.DEFINE_alias("temperature", "sampling_temperature")
_SAMPLER = flags.DEFINE_enum(
    "sampler",
    "random",
    ("random", "greedy", "top_k", "top_p"),
    "How a token is chosen: top_k of the 5 likeliest, top_p of those that together reach 0.1.",
)
_PREFIX = flags.DEFINE_string("prefix", "", "What all of them begin with.")
_GENERATOR = flags.DEFINE_enum("generator", "last", ("last", "best"), "Which generator.")
_FORMAT = flags.DEFINE_enum(
    "format",
    "text",
    ("text", "jsonl"),
    "Lines of text, or of JSON with tokens and log-probability.",
)


def main():
    """Prints the sequences."""
    temperature = command.positive(_TEMPERATURE.value, "sampling_temperature")
    path = _WORKDIR.value
    if not path:
        raise UserError("give --workdir, the directory of a run")
    config = config_flags.read_run(path)
    command.start_tensorflow(config.threads)
    from regan_tf.training.trained import load_run

    run, which = load_run(path), _GENERATOR.value
    try:
        tokens = run.sample_tokens(
            _NUM.value,
            temperature=temperature,
            prefix=_PREFIX.value,
            sampler=_SAMPLER.value,
            seed=_SEED.value,
            generator=which,
        )
    except ValueError as error:
        raise UserError(f"--{error}") from None
    drawn_from = run.best_generator if which == "best" else run.generator
    log_probs = drawn_from.log_prob(tokens).numpy().sum(axis=1)
    texts = run.vocabulary.to_text(tokens)
    for text, row, log_prob in zip(texts, tokens.tolist(), log_probs.tolist(), strict=True):
        print(
            text
            if _FORMAT.value == "text"
            else json.dumps({"text": text, "tokens": row, "log_prob": log_prob}, ensure_ascii=False)
        )


if __name__ == "__main__":
    command.run(main)
