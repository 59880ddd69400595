"""Progress bars of a run: one for pre-training, then one for the adversarial iterations, or for the
calls of a reward where these are counted.
"""

import sys

from tqdm.auto import tqdm


class Bars:
    """The bar of the phase that a run is in, with the headline of its metrics and the reward."""

    def __init__(self, config, progress, headline):
        self._config, self._progress = config, progress
        self._names = (headline, "reward")
        self._shown = {}
        self._bar = _bar("pre-training", progress.pretrained, progress.pretrain_batches)
        if progress.iteration >= 0:
            self._turn()

    def show(self, record):
        """After a step: its record, or None."""
        if self._progress.iteration == 0:
            self._turn()
            return
        figures = {name: (record or {}).get(name) for name in self._names}
        self._shown |= {k: f"{value:.3f}" for k, value in figures.items() if value is not None}
        shown = {name: self._shown[name] for name in self._names if name in self._shown}
        self._bar.set_postfix(shown, refresh=False)
        adversarial = self._progress.iteration > 0
        done = self._adversarial if adversarial else self._progress.pretrained
        self._bar.update(done - self._bar.n)

    def say(self, lines):
        """Prints lines beside the bar."""
        for line in lines:
            self._bar.write(line)

    def _turn(self):
        """To the adversarial iterations."""
        self._bar.close()
        self._shown = {}
        limit = self._config.reward_calls
        total, unit = (limit, "call") if limit else (self._config.iterations, "it")
        self._bar = _bar(self._config.estimator, self._adversarial, total, unit)

    @property
    def _adversarial(self):
        """How far the adversarial phase has come."""
        return self._progress.calls if self._config.reward_calls else self._progress.iteration

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()


def _bar(name, done, total, unit="it"):
    interval = 0.1 if sys.stderr.isatty() or _is_widget() else 10
    return tqdm(
        desc=name, initial=done, total=total, mininterval=interval, unit=unit, dynamic_ncols=True
    )


def _is_widget():
    """Whether bars are a notebook's widgets. Without ipywidgets they are text, and a notebook that
    is kept has a line for each change.
    """
    return any(kind.__module__ == "tqdm.notebook" for kind in tqdm.__mro__)
