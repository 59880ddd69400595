"""Turns finished runs into figures and tables: what each estimator reached, how surely, and what it
cost.

  python -m regan_tf.report runs
  python -m regan_tf.report runs/figure_4 runs/figure_6 --output=report/short

  python -m regan_tf.report runs/expensive_rewards --over=reward   # methods over several rewards

Takes directories that are runs, or hold some at any depth. Writes one self-contained page,
index.html, with its pictures, and scores.json.
"""

from pathlib import Path

from absl import flags

from regan_tf.cli import command
from regan_tf.config import UserError

_OUTPUT = flags.DEFINE_string(
    "output", "report", "Directory of the page, its pictures and scores.json."
)
_GENERATOR = flags.DEFINE_enum(
    "generator", "last", ("last", "best"), "Which generator of each run the scores are of."
)
_OVER = flags.DEFINE_list(
    "over",
    [],
    "Flags over whose values runs are pooled, as they are over seeds: with reward, methods "
    "are compared over several rewards; with oracle_seed, over several drawn oracles.",
)


def main(paths):
    """Prints the tables and writes the page; returns the exit code."""
    if not paths:
        raise UserError(f"give directories of runs: {command.typed('report', 'runs')}")
    command.start_tensorflow(threads=1)
    from regan_tf.studies import grouping, page, results
    from regan_tf.studies.tables import to_text

    runs, unfinished, repeated = results.read(paths, _GENERATOR.value)
    groups = grouping.grouped(runs, _OVER.value)
    tables = {name: page.score_table(members) for name, members in groups.items()}
    for name, table in tables.items():
        title, printed = groups[name][0].task.title(name), table.printed
        print(f"\n{title}\n{to_text(printed.rows, printed.headers)}")
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
            tables,
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
