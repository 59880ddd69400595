"""Publishes a run's generator as a SavedModel for TF Serving: the next numbered version of a model.

  python -m regan_tf.export --workdir=RUN
  python -m regan_tf.export --workdir=RUN --generator=best --model_name=regan

A version is verified first, appears complete, and never replaces another.
"""

from absl import flags

from regan_tf.cli import command, config_flags
from regan_tf.config import Config, UserError
from regan_tf.settings import SettingError, check_name

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run.", required=True)
_EXPORT_DIR = flags.DEFINE_string(
    "export_dir", Config.export_dir, "The version goes to <export_dir>/<model_name>/<version>."
)
_MODEL_NAME = flags.DEFINE_string(
    "model_name", "", "Name of the model; by default regan-<estimator>-<length or texts>."
)
_GENERATOR = flags.DEFINE_enum("generator", "last", ("last", "best"), "Which generator.")


def main():
    """Publishes the generator and prints where."""
    try:
        check_name("model_name", _MODEL_NAME.value)
    except SettingError as error:
        raise UserError(error.of_flags()) from None
    config = config_flags.read_run(_WORKDIR.value)
    command.start_tensorflow(config.threads)
    from regan_tf.training.trained import load_run

    run = load_run(_WORKDIR.value)
    path = run.export(_EXPORT_DIR.value, _MODEL_NAME.value, generator=_GENERATOR.value)
    serve = command.typed("serve", f"--model_dir={path.parent}")
    print(f"published {path}; try it with\n  {serve}")


if __name__ == "__main__":
    command.run(main)
