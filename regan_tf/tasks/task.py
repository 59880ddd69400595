"""A task: what is learned, how samples of it are judged, and what people are shown of that.

Training, reports and pictures ask the run's Task, and know no task by name. Another task is a class
like `grammar.Grammar`, and an entry each, in the same order, of `registry.TASKS`,
`defaults.METRICS` and `defaults.DEFAULTS`.
"""

import abc
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from regan_tf.config import Config, UserError
from regan_tf.tasks.data import Dataset
from regan_tf.tasks.text import Vocabulary


class Metrics(Protocol):
    """Judges samples: NumPy in, numbers out, by their names in metrics.jsonl. A metric may be a
    dict of numbers.
    """

    def describe(self, tokens: np.ndarray) -> dict:
        """All metrics of samples int [N, T]."""

    def of_likelihood(self, nll: float) -> dict:
        """The held-out negative log-likelihood in nats per sequence, "nll", and what follows from
        it.
        """

    def ideal(self, size: int) -> dict:
        """The metrics that so many samples of a perfect generator would have."""


class Column(NamedTuple):
    """A column of the table of scores.

    Attributes:
      statistic: what is shown of the seeds' scores, a key of `page.STATISTICS`.
      printed: whether the terminal's table has it, not the page's alone.
    """

    score: str
    header: str
    statistic: str = "interval"
    printed: bool = False


class Panel(NamedTuple):
    """One picture of a score of groups of runs.

    Attributes:
      lacks: whether what the score lacks of `Task.perfect` is drawn, on a log scale.
    """

    score: str
    title: str
    lacks: bool = False


class RunPanel(NamedTuple):
    """One picture of a run: metrics over the iterations of a phase.

    Attributes:
      curves: a dict from metric to its curve's label; "" for none.
      ideal: label of the dashed line, what a perfect generator has; {} is the curve's.
      from_zero: whether the axis begins at zero.
    """

    ylabel: str
    curves: dict
    ideal: str = ""
    from_zero: bool = False
    phase: str = "adversarial"


class Breakdown(NamedTuple):
    """A table of a metric that is a dict, and what it is of the data themselves."""

    title: str
    metric: str
    real: dict


class Task(abc.ABC):
    """What is known of a run's data and scores before any data are read: reports ask about runs
    whose texts may be gone.

    Args:
      config: a resolved Config.
    """

    # Judging.
    headline: ClassVar[str]  # the metric that is shown first
    lower_is_better: ClassVar[frozenset] = frozenset()  # metrics and scores
    judges_each_iteration: ClassVar[bool] = True  # or at evaluation points only
    end_scores: ClassVar[tuple]  # metrics by whose values at the end runs are compared
    tested: ClassVar[tuple]  # scores whose differences are tested, each with its name in words
    not_shown: ClassVar[frozenset] = frozenset()  # metrics that a run's last table leaves out
    has_temperature_curve: ClassVar[bool] = False  # needs all of TextMetrics
    has_law_curve: ClassVar[bool] = False  # over temperatures, in the summaries of its runs

    # Data: runs that agree in these flags have the same.
    content: ClassVar[str] = "texts"  # what --data_sha256 is of
    data_fields: ClassVar[tuple]
    name_fields: ClassVar[tuple] = ()  # flags that name the data, and decide nothing
    compares_data: ClassVar[bool] = False  # whether scores on different data stand on one scale

    # What is shown.
    perfect_name: ClassVar[str]  # what to call the samples of a perfect generator
    has_row_of_real: ClassVar[bool] = False  # in the table of scores
    sample_fills_line: ClassVar[bool] = False  # or several stand in one
    columns: ClassVar[tuple]  # of Column
    panels: ClassVar[tuple]  # four of Panel
    flag_panels: ClassVar[tuple]  # four of Panel, in pictures against a flag; parts of `perfect`
    run_figures: ClassVar[tuple]  # file names, each with a tuple of RunPanel
    event_metrics: ClassVar[tuple]  # TensorBoard's, beside the hyperparameters
    picture_prefix: ClassVar[str]  # of the names of pictures that show several of its data

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        missing = [name for name in Task.__annotations__ if not hasattr(cls, name)]
        if missing:
            raise TypeError(f"{cls.__name__} lacks {', '.join(missing)}: Task says what they are")

    def __init__(self, config: Config):
        self.config: Any = config  # resolved: none of its fields is None

    @property
    @abc.abstractmethod
    def name(self) -> int | str:
        """What tells its data from others of the same class, and orders them."""

    @property
    def full_name(self) -> str:
        """What tells its data from others of the class that have the same `name`."""
        return f"{self.config.dataset} {self.name}"

    def title(self, name: int | str) -> str:
        """A heading for the data that have this name or full name."""
        return str(name)

    @property
    @abc.abstractmethod
    def explanation(self) -> str:
        """What the report says of the columns, as HTML."""

    @property
    def learning_picture(self) -> str | None:
        """Name of the picture of variance and learning, if it is drawn."""
        return None

    @property
    def breakdowns(self) -> tuple[Breakdown, ...]:
        """Tables of metrics that are dicts."""
        return ()

    def picture(self, number: int) -> str:
        """Name of the picture of groups on these data, the report's `number`th."""
        return f"{self.config.dataset}_{number}.png"

    @abc.abstractmethod
    def metrics(self, dataset: Dataset) -> Metrics:
        """What judges samples."""

    @abc.abstractmethod
    def _load(self) -> Dataset:
        """Makes or reads the data."""

    def load(self) -> Dataset:
        """The data. Raises UserError if they do not serve."""
        config = self.config
        try:
            dataset = self._load()
        except MemoryError as error:
            raise UserError(
                f"--seq_len={config.seq_len}: the data do not fit into memory ({error})"
            ) from None
        if config.data_sha256 not in ("", dataset.sha256):
            raise UserError(
                f"{config.data_file or config.oracle_file or config.dataset}: the {self.content} "
                "are not those that the run began with; they have changed "
                f"(--data_sha256={config.data_sha256[:12]}..., now {dataset.sha256[:12]}...)"
            )
        if len(dataset.real) < config.batch_size:
            raise UserError(
                f"--batch_size={config.batch_size} is not allowed: there are {len(dataset.real)} "
                "training sequences"
            )
        return dataset

    def vocabulary(self) -> Vocabulary:
        """That of the data, which are loaded for it where it depends on them."""
        return self.load().vocabulary

    def completed(self, dataset: Dataset) -> Config:
        """The config with what it left to the data."""
        return self.config

    def eval_samples(self, dataset: Dataset) -> int:
        """How many samples are judged at a time."""
        return self.config.eval_samples

    def mean_length(self, metrics: dict) -> float:
        """Mean length of the held-out sequences, from all metrics of a generator."""
        return self.config.seq_len

    def doubts(self, pretraining: list[dict], start: dict, ideal: dict) -> list[str]:
        """What speaks against going on from pre-training as it ended: sentences, each with what to
        do instead.

        Args:
          pretraining: the records of its epochs.
          start: that of iteration 0.
          ideal: the metrics of as many samples of a perfect generator.
        """
        return []

    def more_scores(self, end: dict, records: list) -> dict:
        """Scores of a run besides `end_scores`; end: its last metrics; records: the adversarial
        ones. `learning` is compared between runs of equal length only.
        """
        return {}

    def perfect(self, score: str) -> float | None:
        """The highest value of a score on these data, if they set one."""
        return None

    def is_better(self, name: str, value: float, than: float) -> bool:
        """Whether one value of a metric or score is better than another."""
        return value < than if name in self.lower_is_better else value > than
