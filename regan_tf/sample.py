"""Prints sequences from a trained run.

python -m regan_tf.sample --workdir=RUN --num=20 --seed=7
python -m regan_tf.sample --workdir=RUN --format=jsonl --sampling_temperature=0.5
"""

import json

from absl import flags

from regan_tf.cli import command, config_flags

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run.", required=True)
_NUM = flags.DEFINE_integer("num", 10, "How many sequences.", lower_bound=1)
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
    config = config_flags.read_run(path)
    command.start_tensorflow(config.threads)
    from regan_tf.tasks.registry import task_of
    from regan_tf.training.models import Models

    vocabulary = task_of(config).vocabulary()
    models = Models(config, vocabulary)
    models.restore(path)
    generator = models.named(_GENERATOR.value)
    tokens = generator.sample(_NUM.value, _SEED.value, temperature)
    log_probs = generator.log_prob(tokens).numpy().sum(axis=1)
    for text, row, log_prob in zip(
        vocabulary.to_text(tokens.numpy()), tokens.numpy().tolist(), log_probs.tolist(), strict=True
    ):
        print(
            text
            if _FORMAT.value == "text"
            else json.dumps({"text": text, "tokens": row, "log_prob": log_prob}, ensure_ascii=False)
        )


if __name__ == "__main__":
    command.run(main)
