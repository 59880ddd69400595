"""A run as its directory holds it: what sampling, scoring and exporting need, and no more. Neither
the texts that it learned from nor its reward are asked for.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regan_tf.cli import config_flags
from regan_tf.config import UserError
from regan_tf.estimators.calls import made
from regan_tf.files import typed_line
from regan_tf.networks.convolutional import AnyDiscriminator
from regan_tf.networks.generator import Generator
from regan_tf.networks.samplers import Sampler, count, positive
from regan_tf.settings import check_name
from regan_tf.tasks.registry import task_of
from regan_tf.tasks.text import Vocabulary
from regan_tf.training import records
from regan_tf.training.models import Models
from regan_tf.training.progress import Progress
from regan_tf.training.workdir import VOCABULARY, call_lines, reading_calls


class TrainedRun:
    """A run of `regan_tf.main`, finished or not, at its newest checkpoint.

    Attributes:
      path, config: its directory, and its resolved Config.
      vocabulary: what its tokens stand for.
      generator, best_generator: as they were last, and at the best evaluation point.
      discriminator: as it was last; where a reward of one's own replaces it, it was never trained.
    """

    def __init__(self, path: str | Path):
        self.path, self.config = Path(path), config_flags.read_run(path)
        self.vocabulary = _vocabulary(self.path, self.config)
        self._models = Models(self.config, self.vocabulary)
        self._progress = Progress(task_of(self.config), self.config.data_size)
        self._models.restore(self.path, **self._progress.checkpoint_parts())
        self._damage = None
        try:  # now: the directory may be a temporary one
            self._records = records.read(self.path, self._progress.iteration)
        except UserError as error:  # which matters to who asks for them alone
            self._damage = error

    def __repr__(self) -> str:
        return f"<run of {self.config.name} in {self.path}, iteration {self._progress.iteration}>"

    @property
    def generator(self) -> Generator:
        return self._models.generator

    @property
    def best_generator(self) -> Generator:
        return self._named("best")

    @property
    def discriminator(self) -> AnyDiscriminator:
        return self._models.discriminator

    @property
    def records(self) -> list[dict]:
        """The lines of its metrics.jsonl, as dicts. Raises UserError if one is damaged."""
        if self._damage:
            raise self._damage
        return self._records

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """The adversarial iterations' numbers by name, [N] each; NaN where one was not measured."""
        records = [r for r in self.records if r["phase"] == "adversarial"]
        names = {n: None for r in records for n, x in r.items() if isinstance(x, int | float)}
        return {n: np.array([_number(r.get(n)) for r in records]) for n in names}

    def calls(self) -> list[dict]:
        """What its --reward of texts or tokens was asked for, in order, each sequence once: the
        lines of its calls.jsonl, with "call", "iteration", "tokens", "reward", components and, of a
        reward of texts, "text". Those since the newest checkpoint are left out: they are no part of
        the run until they are made again. Raises UserError where some are lost.
        """
        with reading_calls(self.path):
            return made(call_lines(self.path), self._progress.calls)

    def best_sequences(self, count: int = 100) -> list[dict]:
        """The `count` best of its `calls`, the highest reward first and equal ones by call order,
        each with its "text".
        """
        best = sorted(self.calls(), key=lambda call: -call["reward"])[:count]
        shape = len(best), self.config.seq_len
        texts = self.vocabulary.to_text(np.reshape([call["tokens"] for call in best], shape))
        return [call | {"text": text} for call, text in zip(best, texts, strict=True)]

    def sample(
        self,
        num: int = 10,
        *,
        temperature: float | None = None,
        prefix: str = "",
        sampler: str | Sampler = "random",
        seed: int = 0,
        generator: str = "last",
    ) -> list[str]:
        """Sequences as text, `num` of them; see `sample_tokens`."""
        tokens = self.sample_tokens(
            num,
            temperature=temperature,
            prefix=prefix,
            sampler=sampler,
            seed=seed,
            generator=generator,
        )
        return self.vocabulary.to_text(tokens)

    def sample_tokens(
        self,
        num: int = 10,
        *,
        temperature: float | None = None,
        prefix: str = "",
        sampler: str | Sampler = "random",
        seed: int = 0,
        generator: str = "last",
    ) -> np.ndarray:
        """Sequences as tokens, int32 [num, T].

        Args:
          num: how many, above 0.
          temperature: divides the logits, above 0; None: the sampler's, which is 1 unless it is
            given one.
          prefix: what all of them begin with.
          sampler: "greedy", "random", "top_k", "top_p", or a Sampler; see `Generator.generate`.
          seed: the same seed gives the same sequences.
          generator: "last" or "best".
        Raises:
          ValueError, TypeError: an argument is not allowed; the message names it.
        """
        chosen = self._named(generator)
        if prefix or sampler != "random":
            return chosen.generate(
                self._encoded_prefix(prefix),
                num=num,
                sampler=sampler,
                temperature=temperature,
                seed=seed,
            )
        temperature = positive(1.0 if temperature is None else temperature, "temperature")
        return chosen.sample(count(num, "num"), seed, temperature).numpy()

    def score(self, texts: Sequence[str], *, generator: str = "last") -> np.ndarray:
        """log p of each text under the generator, in nats: [N].

        Raises ValueError if a text has more than T tokens, or one that is not in the vocabulary
        where there is no unknown token; TypeError if one text is given for a list of them.
        """
        if isinstance(texts, str):
            raise TypeError(f"texts={texts!r} is not allowed: it must be a list of texts")
        tokens = self.vocabulary.encode(list(texts), self.config.seq_len)
        return self._named(generator).log_prob(tokens).numpy().sum(axis=1)

    def export(
        self, export_dir: str | Path = "export", model_name: str = "", *, generator: str = "last"
    ) -> Path:
        """Publishes a generator as a SavedModel for TF Serving, the next numbered version in
        export_dir/model_name. Returns the version's path.

        Args:
          export_dir: where models are.
          model_name: by default regan-<estimator>-<length or texts>.
          generator: "last" or "best".
        Raises:
          UserError: there is no best generator yet, or the directory cannot be written.
          ValueError: model_name is no name of a directory.
        """
        from regan_tf.serving import publishing  # it loads what no other use of a run needs

        self._named(generator)
        check_name("model_name", model_name)
        directory = Path(export_dir) / (model_name or self.config.model_name)
        metrics = self._recorded(generator)
        return Path(
            publishing.publish_run(
                self._models, self._progress, generator, metrics, self.path, directory
            )
        )

    def _named(self, which):
        if which not in ("last", "best"):
            raise ValueError(f"generator={which!r} is not allowed: it must be 'last' or 'best'")
        if which == "best" and self._progress.best_iteration < 0:
            raise UserError(f"{self.path} has no best generator yet: it is still in pre-training")
        return self._models.named(which)

    def _recorded(self, which):
        """The generator's metrics as training recorded them last; {} where they cannot be read."""
        progress = self._progress
        last = progress.best_iteration if which == "best" else progress.iteration
        headline = task_of(self.config).headline
        try:
            measured = [
                r
                for r in self.records
                if r.get(headline) is not None
                and (r["phase"] == "pretrain" or r["iteration"] <= last)
            ]
        except UserError as error:
            print(f"warning: {error}: the export is without metrics", file=sys.stderr)
            return {}
        return measured[-1] if measured else {}

    def _encoded_prefix(self, prefix):
        """The prefix' tokens, a list."""
        length, known = self.config.seq_len, self.vocabulary.known
        symbols = self.vocabulary.split(prefix)
        if len(symbols) > length:
            raise ValueError(
                f"prefix={prefix!r} is not allowed: it must have at most {length} tokens"
            )
        if unknown := [symbol for symbol in symbols if symbol not in known]:
            raise ValueError(
                f"prefix={prefix!r} is not allowed: {unknown[0]!r} is not in the run's vocabulary"
            )
        return [known[symbol] for symbol in symbols]


def load_run(path: str | Path) -> TrainedRun:
    """The run in a directory.

        run = regan_tf.load_run("runs/mine")
        run.sample(20, temperature=0.8, prefix="x+")

    Raises UserError if there is none that can be read, or no checkpoint yet.
    """
    try:
        return TrainedRun(path)
    except UserError as error:
        raise UserError(str(error).removeprefix("--workdir=")) from None


def _vocabulary(path, config):
    """That of the run; of one from before it was kept, that of its data."""
    file = path / VOCABULARY
    if not file.exists():
        return task_of(config).vocabulary()
    try:
        return Vocabulary.from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{file} cannot be read: {typed_line(error)}") from None


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else np.nan
