"""The tasks, by --dataset."""

from regan_tf.config import Config
from regan_tf.tasks.grammar import Grammar
from regan_tf.tasks.oracle import Oracle
from regan_tf.tasks.task import Task
from regan_tf.tasks.text_task import Texts
from regan_tf.tasks.uniform import Uniform

TASKS: dict[str, type[Task]] = {
    "grammar": Grammar,
    "text": Texts,
    "pydoc": Texts,
    "uniform": Uniform,
    "oracle": Oracle,
}


def task_of(config: Config) -> Task:
    """What a resolved Config learns; reads no data."""
    return TASKS[config.dataset](config)
