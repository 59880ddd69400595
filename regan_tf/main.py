"""Trains a sequence GAN with REINFORCE, REBAR or RELAX, as in the ReGAN paper, and exports its
generator.

The data are the paper's grammar, or texts of your own.

  python -m regan_tf.main --estimator=rebar --temperature=0.1
  python -m regan_tf.main --flagfile=paper_15_relax --seed=1
  python -m regan_tf.main --dataset=text --data_file=texts.txt
  python -m regan_tf.main --flagfile=RUN/config.flags --workdir=RUN      (goes on with an
  interrupted run)

Everything about the run is kept in --workdir.
"""

from absl import flags

from regan_tf.cli import command, config_flags


def main():
    """Runs the experiment that the flags ask for; returns the exit code."""
    config = config_flags.parsed()
    command.start_tensorflow(config.threads, config.precision)
    from regan_tf.training.run import run  # TensorFlow is loaded only once the flags are good

    return run(config, ends_process=True)


if __name__ == "__main__":
    config_flags.define()
    flags.adopt_module_key_flags(config_flags)
    command.run(main)
