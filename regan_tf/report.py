"""Turns finished runs into figures and tables: what each estimator reached, how surely, and what it
cost.

  python -m regan_tf.report runs
  python -m regan_tf.report runs/figure_4 runs/figure_6 --output=report/short

Takes directories that are runs, or hold some at any depth. Writes one self-contained page,
index.html, with its pictures, and scores.json.
"""

from pathlib import Path

from absl import flags
from tabulate import tabulate

from regan_tf.cli import command
from regan_tf.config import UserError

_OUTPUT = flags.DEFINE_string(
    "output", "report", "Directory of the page, its pictures and scores.json."
)
_GENERATOR = flags.DEFINE_enum(
    "generator", "last", ("last", "best"), "Which generator of each run the scores are of."
)

# Columns printed.
_SHOWN = (0, 1, 2, 3, 4, 6, 8, 9, 12, 13)
_SHOWN_OF_TEXTS = (0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 14, -1)


def main(paths):
    """Prints the tables and writes the page; returns the exit code."""
    if not paths:
        raise UserError("give directories of runs: python -m regan_tf.report runs")
    command.start_tensorflow(threads=1)
    from regan_tf.studies import page, results

    runs, unfinished, repeated = results.read(paths, _GENERATOR.value)
    groups = results.grouped(runs)
    rows = page.score_rows(groups)
    for name, of_name in rows.items():
        columns, title = (
            (_SHOWN_OF_TEXTS, name) if isinstance(name, str) else (_SHOWN, f"Length {name}")
        )
        shown = [[row[i] for i in columns] for row in of_name]
        print(
            f"\n{title}\n"
            + tabulate(shown, [page.headers(name)[i] for i in columns], disable_numparse=True)
        )
    if repeated:
        print(f"\n{repeated} runs repeat others and were left out")
    if unfinished:
        print(f"\n{unfinished} runs are not finished and were left out")
    output = Path(_OUTPUT.value)
    try:
        output.mkdir(parents=True, exist_ok=True)
        pictures = page.draw(groups, output)
        written = page.write(
            output,
            groups,
            rows,
            pictures,
            paths=paths,
            unfinished=unfinished,
            generator=_GENERATOR.value,
        )
    except OSError as error:
        raise UserError(f"--output={output} cannot be written: {error.strerror}") from None
    print(f"\nNow look at {written}")
    return 0


if __name__ == "__main__":
    command.run(main, takes_arguments=True)
