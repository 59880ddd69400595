"""What a caller may do while a run goes on."""

from regan_tf.networks.generator import Generator


class Callback:
    """Inherit from it and override what you need; see `regan_tf.train`.

    A record is a line of metrics.jsonl, a dict: "phase", "iteration", metrics by their names, None
    for what was not measured.
    """

    def on_pretraining(self, record: dict, generator: Generator) -> None:
        """After each epoch of maximum likelihood."""

    def on_iteration(self, record: dict, generator: Generator) -> None:
        """After each adversarial iteration; iteration 0 is the generator before the first."""

    def on_evaluation(self, record: dict, generator: Generator) -> None:
        """After an iteration, and after `on_iteration`, where its metrics are of many samples."""


def call(callbacks, record, generator, at_evaluation_point):
    """Calls what a record asks for."""
    for callback in callbacks:
        if record["phase"] == "pretrain":
            callback.on_pretraining(record, generator)
            continue
        callback.on_iteration(record, generator)
        if at_evaluation_point:
            callback.on_evaluation(record, generator)
