"""The pictures of one run, in the manner of the paper's figures 4 and 5."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def plot_run(records, config, directory):
    """Draws goodness.png and log_variance.png into `directory` from the adversarial records of metrics.jsonl."""
    directory = Path(directory)
    directory.mkdir(exist_ok=True)
    records = [r for r in records if r["phase"] == "adversarial"]
    name = f"{config.estimator.upper()}, length {config.seq_len}"

    figure, axes = _axes(name, "Goodness Score")
    axes.plot([r["iteration"] for r in records], [r["goodness"] for r in records], color="C0", label="generated")
    axes.axhline(config.seq_len - 2, color="0.4", linestyle="--", linewidth=1, label="perfect")
    axes.set_ylim(bottom=0)
    _save(figure, axes, directory / "goodness.png")

    measured = [r for r in records if r["log_variance"] is not None]
    if measured:
        figure, axes = _axes(name, "Log variance of the gradient [nats]")
        iterations = [r["iteration"] for r in measured]
        axes.plot(
            iterations, [r["log_variance"] for r in measured], color="C1", label="first parameter of the last layer (the paper's)"
        )
        axes.plot(iterations, [r["log_variance_all"] for r in measured], color="C2", label="mean over all parameters")
        _save(figure, axes, directory / "log_variance.png")


def plot_comparison(runs, title, path):
    """Draws goodness and log variance of several runs side by side: bold the mean over a label's runs, as far as all go.

    Args:
      runs: a dict from label to a list of runs, each a list of adversarial records of metrics.jsonl.
      title: of the figure.
      path: of the PNG.
    """
    panels = {"goodness": "Goodness Score", "log_variance_all": "Log mean variance of the gradient [nats]"}
    figure, all_axes = plt.subplots(1, len(panels), figsize=(11, 4.2), layout="constrained")
    figure.suptitle(title)
    for axes, (field, ylabel) in zip(all_axes, panels.items(), strict=True):
        axes.set(xlabel="Adversarial iteration", ylabel=ylabel)
        axes.grid(alpha=0.3)
        for number, (label, members) in enumerate(runs.items()):
            color = f"C{number % 10}"
            curves = [[(r["iteration"], r[field]) for r in records if r[field] is not None] for records in members]
            for curve in curves:
                axes.plot(*zip(*curve, strict=True), color=color, alpha=0.25, linewidth=0.7)
            mean = [(points[0][0], sum(value for _, value in points) / len(points)) for points in zip(*curves, strict=False)]
            axes.plot(*zip(*mean, strict=True), color=color, label=label)
    all_axes[0].legend(frameon=False, loc="lower right")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plot_bias_and_variance(results, title, path):
    """Draws variance against bias, log scales, from the results of `compare`, labelled with their names.

    A filled cross is a bias seen; a ring is none seen, drawn at the bias that noise alone could show.
    """
    figure, axes = plt.subplots(figsize=(10, 6), layout="constrained")
    several = len({r["temperature"] for r in results}) > 1
    for r in results:
        seen = r["z"] > 4
        x, y = r["bias"] if seen else max(r["bias_error"], 1e-5), r["relative_variance"]
        axes.plot(x, y, "X" if seen else "o", color="C3" if seen else "C0", markerfacecolor="C3" if seen else "none", markersize=8)
        label = f"{r['estimator']} @ {r['temperature']:g}" if several else r["estimator"]
        axes.annotate(label, (x, y), textcoords="offset points", xytext=(8, -3), fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="Relative bias: red crosses; blue rings: none seen, drawn at the noise level")
    axes.set_ylabel(f"Total variance, relative to {results[0]['estimator']}")
    axes.margins(x=0.35, y=0.1)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3, which="both")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _axes(title, ylabel):
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    axes.set(title=title, xlabel="Adversarial iteration", ylabel=ylabel)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure, axes, path):
    axes.legend(frameon=False)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, dpi=130, format="png")
    temporary.replace(path)
    plt.close(figure)
