"""The RNA example: its reward by hand-made cases, its command and its study on a small target."""

import contextlib
import io
import json
import re
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import RNA
import tensorflow as tf
from absl.testing import parameterized

from examples.rna import __main__ as command
from examples.rna import drawing, reward, study
from regan_tf.config import UserError
from regan_tf.estimators import reward_functions

_HAIRPIN, _SOLUTION = "((((....))))", "GGGGAAAACCCC"
# A known solution of a target, 5' to 3'.
_FROG_FOOT = "GAAAAAAAAGGGGAGAAAUCCCGCCCGAAAGGGCGCCCAAAGGGC"


def _written(structure, rna):
    """The text that stands for an RNA: what `rna_of` does, undone."""
    places = reward.rna_of(structure, [chr(ord("a") + i) for i in range(len(structure))])
    return "".join(letter for _, letter in sorted(zip(places, rna, strict=True)))


class RewardTest(tf.test.TestCase, parameterized.TestCase):
    def test_pairs_are_written_together_then_the_rest(self):
        # Places: ( ( . ) . ) -> pairs (0, 5), (1, 3), then 2 and 4.
        self.assertEqual(reward.pairs_of("((.).)"), [(0, 5), (1, 3)])
        self.assertEqual(reward.rna_of("((.).)", "abcdef"), "acedfb")
        self.assertEqual(_written("((.).)", "acedfb"), "abcdef")

    @parameterized.parameters((_HAIRPIN, _SOLUTION), ("frog_foot", _FROG_FOOT))
    def test_a_solution_has_the_highest_reward(self, target, rna):
        structure = reward.structure_of(target)
        found = getattr(reward, target)([_written(structure, rna)])
        self.assertEqual(found, {"reward": [1.0], "pairs": [1.0], "gap": [0.0], "solved": [1.0]})

    def test_what_is_wrong_costs(self):
        texts = [_written(_HAIRPIN, rna) for rna in (_SOLUTION, "GGGAAAAAACCC", "AAAAAAAAAAAA")]
        found = reward.design(_HAIRPIN, texts)
        # Of the second RNA the stem has three of the four pairs.
        self.assertAllClose(found["pairs"], [1, 2 * 3 / 7, 0])
        self.assertEqual(found["solved"], [1.0, 0.0, 0.0])
        unfolded = RNA.eval_structure_simple("A" * 12, _HAIRPIN)
        self.assertGreater(unfolded, 0)
        self.assertAlmostEqual(found["gap"][2], unfolded, places=4)
        expected = np.array(found["pairs"]) - np.array(found["gap"]) / (3 * 4)
        self.assertAllClose(found["reward"], expected)

    def test_it_is_found_by_its_target_in_a_run_and_in_a_worker(self):
        for target in (_HAIRPIN, "frog_foot"):
            for where in ("examples.rna.reward", reward.__file__):
                found = reward_functions.load(f"{where}:{target}")
                self.assertEqual(found.reads, "texts")
        text = _written(_HAIRPIN, _SOLUTION)
        (answer,) = reward_functions.ask_by_name(f"examples.rna.reward:{_HAIRPIN}", [text])
        self.assertEqual(answer["solved"], 1.0)

    def test_a_run_says_which_targets_there_are(self):
        told = "--reward=examples.rna.reward:frog is not there: 'frog' is no structure .* frog_foot"
        with self.assertRaisesRegex(UserError, told):
            reward_functions.load("examples.rna.reward:frog")

    @parameterized.parameters("frog", "((.)", "....", "")
    def test_what_is_no_target_is_named(self, target):
        with self.assertRaisesRegex(ValueError, "is no structure of .* nor one of prion_pseudo"):
            reward.structure_of(target)
        self.assertFalse(hasattr(reward, target or "nothing"))

    def test_another_length_is_told_of(self):
        with self.assertRaisesRegex(ValueError, "take --seq_len=12"):
            reward.design(_HAIRPIN, ["ACGU"])

    def test_the_targets_have_30_to_60_letters(self):
        lengths = [len(reward.structure_of(target)) for target in reward.TARGETS]
        self.assertLen(lengths, 10)
        self.assertBetween(min(lengths), 30, 60)
        self.assertBetween(max(lengths), 30, 60)


class DrawingTest(tf.test.TestCase):
    def test_it_draws_a_picture(self):
        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "rna.png"
        drawing.draw(path, _SOLUTION, "(((......)))", "title")
        self.assertEqual(path.read_bytes()[:4], b"\x89PNG")


class TableTest(tf.test.TestCase):
    def test_means_count_the_budget_where_nothing_was_found(self):
        records = [
            {"target": t, "method": m, "calls": 100, "solved": solved}
            for t, m, solved in (("a", "x", 10), ("a", "x", None), ("b", "x", 30), ("b", "y", 8))
        ]
        rows = study.table(records, ["a", "b"], ["x", "y"]).splitlines()[2:]
        cells = [[cell.strip() for cell in row.split("  ") if cell.strip()] for row in rows]
        expected = [["a", "55 (1/2)"], ["b", "30 (1/1)", "8 (1/1)"], ["all", "47 (2/3)", "8 (1/1)"]]
        self.assertEqual(cells, expected)


class StudyTest(tf.test.TestCase):
    def test_what_other_settings_gave_is_no_result_of_todays(self):
        output = Path(self.enterContext(tempfile.TemporaryDirectory()))
        run = self.enterContext(mock.patch.object(study, "calls_to_solve", return_value=7))
        self.enterContext(contextlib.redirect_stdout(io.StringIO()))
        arguments = ([_HAIRPIN], ["loo"], 2, 100, output)
        first = study.study(*arguments)
        self.assertEqual([r["solved"] for r in first], [7, 7])
        self.assertEqual(study.study(*arguments), first)
        self.assertEqual(run.call_count, 2)
        run.return_value = 9
        with mock.patch.dict(study.METHODS, loo={"batch_size": 4}):
            self.assertEqual([r["solved"] for r in study.study(*arguments)], [9, 9])
        self.assertEqual(study.study(*arguments), first)
        self.assertLen(study.study(*arguments[:3], 200, output), 2)
        self.assertEqual(run.call_count, 6)
        (other,) = study.study([_HAIRPIN], ["loo@0.5"], 1, 100, output)
        rate = other["settings"].pop("generator_learning_rate")
        self.assertEqual((run.call_count, rate), (7, 0.5))
        del first[0]["settings"]["generator_learning_rate"]
        self.assertEqual(other["settings"], first[0]["settings"])


class ReadmeTest(tf.test.TestCase):
    def test_the_flags_are_the_settings_of_the_example(self):
        page = (Path(reward.__file__).parent / "README.md").read_text(encoding="utf-8")
        (block,) = re.findall(
            r"python -m regan_tf.main (--dataset=uniform.*?)\n\n", page, re.DOTALL
        )
        (example,) = re.findall(r"-m examples.rna --target=(\w+) --calls=(\d+)\n", page)
        target, calls = example
        given = {
            "seq_len": len(reward.structure_of(target)),
            "reward": f"examples.rna.reward:{target}",
            "reward_calls": calls,
        }
        settings = study.BASE | study.METHODS["all"] | given
        flags = [
            "--notrack_variance" if n == "track_variance" else f"--{n}={v}"
            for n, v in settings.items()
        ]
        self.assertFalse(settings["track_variance"])
        self.assertCountEqual(block.replace("\\\n", " ").split(), flags)


@pytest.mark.slow
class CommandTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(contextlib.chdir(self.directory))

    def test_one_command_designs_draws_and_exports(self):
        with contextlib.redirect_stdout(io.StringIO()) as output:
            command.main(["--target=((((....))))", "--calls=64", "--method=loo", "--workdir=run"])
        self.assertRegex(output.getvalue(), r"\n\(\(\(\(\.{4}\)\)\)\)  the target\n[ACGU]{12}  rew")
        self.assertRegex(output.getvalue(), r"\d+ different solutions in 64 calls\n")
        self.assertTrue((self.directory / "run/structure.png").exists())
        self.assertTrue(any((self.directory / "export").rglob("saved_model.pb")))

    def test_the_study_ends_a_run_where_it_is_solved_and_runs_nothing_twice(self):
        arguments = ([_HAIRPIN], ["loo"], 1, 2_000, self.directory / "study")
        with contextlib.redirect_stdout(io.StringIO()):
            (record,) = study.study(*arguments)
            self.assertLess(record["solved"], 2_000)
            calls = (self.directory / "study/run/calls.jsonl").read_text(encoding="utf-8")
            solved = [call["solved"] for call in map(json.loads, calls.splitlines())]
            self.assertEqual(solved.index(1.0) + 1, record["solved"])
            self.assertLess(len(solved), record["solved"] + 8)  # no more than its minibatch
            self.assertEqual(study.study(*arguments), [record])


if __name__ == "__main__":
    tf.test.main()
