"""The example of molecules: rewards to GuacaMol's numbers, data, judgement, and a model served."""

import contextlib
import io
import json
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from matplotlib import image
from rdkit import Chem

import regan_tf
from examples.molecules import __main__ as command
from examples.molecules import data, evaluate, rewards
from regan_tf.estimators import answers, reward_functions

_MOLECULES = [
    "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1",
    "COc1ccc(F)cc1C(=O)N1CCN(c2ccc3ncccc3c2)CC1",
    "O=S(=O)(c1ccc(Br)cc1)N1CCCC(CO)C1",
]
_OF_GUACAMOL = {  # what guacamol 0.5.2 gives the three
    "qed": (0.638951, 0.714161, 0.917714),
    "celecoxib_rediscovery": (0.104762, 0.231405, 0.186275),
    "thiothixene_rediscovery": (0.12069, 0.234848, 0.216216),
    "troglitazone_rediscovery": (0.12931, 0.131034, 0.142857),
    "albuterol_similarity": (1, 0.213836, 0.355556),
    "mestranol_similarity": (0.241309, 0.179592, 0.2158),
    "isomers_c7h8n2o2": (1.23196e-13, 4.76855e-24, 4.0273e-07),
    "isomers_c9h10n2o2pf2cl": (1.75032e-05, 3.58175e-10, 0.0169392),
    "median1": (0.0643489, 0.0480315, 0.0893917),
    "median2": (0.0768322, 0.146641, 0.132459),
    "osimertinib_mpo": (0.246951, 0.0102767, 0.0645411),
    "fexofenadine_mpo": (0.314643, 0.0241894, 0.0970125),
    "ranolazine_mpo": (0.432407, 0.370026, 0.459345),
    "perindopril_mpo": (0.100124, 0.098673, 0.122063),
    "amlodipine_mpo": (0.00632529, 0.137503, 0.118836),
    "sitagliptin_mpo": (0.0177704, 3.19355e-06, 0.0176019),
    "zaleplon_mpo": (0.0180876, 0.153216, 0.0118265),
}


class RewardsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(*rewards.TASKS)
    def test_the_numbers_are_guacamols(self, task):
        found = answers.ask(getattr(rewards, task), _MOLECULES)
        self.assertAllClose(
            [each["reward"] for each in found], _OF_GUACAMOL[task], rtol=1e-4, atol=1e-9
        )

    @parameterized.parameters(
        ("celecoxib_rediscovery", "Cc1ccc(cc1)-c1cc(nn1-c1ccc(cc1)S(N)(=O)=O)C(F)(F)F"),
        ("isomers_c7h8n2o2", "Nc1ccc(cc1)C(=O)NO"),
        ("isomers_c9h10n2o2pf2cl", "NC(=O)c1c(F)c(F)c(Cl)c(PC)c1NCO"),
    )
    def test_what_is_sought_has_reward_1(self, task, smiles):
        found = getattr(rewards, task)([smiles, "CCO"])["reward"]
        self.assertAllClose(found[0], 1.0)
        self.assertLess(found[1], 0.1)

    def test_what_is_no_molecule_is_invalid_and_has_reward_0(self):
        broken = ["", "C1CC", "c1cccc1", "C(", "CN(C)(C)C", "xyz", "é"]
        found = rewards.qed([*broken, "CCO"])
        self.assertEqual(found["reward"][:-1], [0.0] * len(broken))
        self.assertEqual(found["valid"], [False] * len(broken) + [True])
        with self.assertRaisesRegex(AttributeError, "no task 'drd2': take one of qed, celecoxib_"):
            _ = rewards.drd2

    def test_a_run_finds_every_task_by_its_name(self):
        for task in rewards.TASKS:
            found = reward_functions.load(f"examples.molecules.rewards:{task}")
            self.assertEqual(found.reads, "texts")


class DataTest(tf.test.TestCase):
    def test_rdkits_molecules_are_read_once_and_are_canonical(self):
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        train, test = data.files("nci", directory)
        lines = train.read_text().splitlines()
        self.assertGreater(len(lines), 4000)
        self.assertTrue(all(Chem.CanonSmiles(line) == line for line in lines[:50]))
        self.assertEmpty(set(lines) & set(test.read_text().splitlines()))
        test.write_text("kept\n")
        self.assertEqual(data.files("nci", directory)[1].read_text(), "kept\n")

    def test_it_is_said_what_is_missing(self):
        with (
            mock.patch.object(data.importlib.util, "find_spec", return_value=None),
            self.assertRaisesRegex(regan_tf.UserError, "package moses is missing.*--data=nci"),
        ):
            data.files("moses", "not there")


class EvaluateTest(tf.test.TestCase):
    def test_figures_of_a_few_molecules(self):
        found = evaluate.describe(["OCC", "CCO", "C1", "c1ccccc1", "CC"], {"CCO"})
        distances = evaluate.internal_diversity(["CCO", "CCO", "c1ccccc1", "CC"])
        self.assertAllClose(found.pop("diversity"), distances)
        self.assertEqual(found, {"valid": 0.8, "unique": 0.75, "novel": 2 / 3})

    def test_diversity_is_0_of_one_molecule_and_half_of_two_that_share_nothing(self):
        self.assertAllClose(evaluate.internal_diversity(["CCO"] * 3), 0.0)
        self.assertAllClose(evaluate.internal_diversity(["C", "[Na+]"]), 0.5)

    def test_calls_are_counted_by_molecule_as_pmo_does(self):
        calls = [
            {"call": i, "text": text, "reward": reward, "valid": reward > 0}
            for i, (text, reward) in enumerate(
                [("C(", 0.0), ("CCO", 0.5), ("OCC", 0.5), ("c1ccccc1", 1.0), ("C1=CC=CC=C1", 1.0)]
            )
        ]
        self.assertEqual([c["call"] for c in evaluate.distinct_calls(calls)], [1, 3])
        # The curve: 0 before the first molecule, 3/4 from the second one on to the tenth.
        area = (2 * 0.75 / 2 + 8 * 0.75) / 10
        expected = {"molecules": 2, "molecules_top_10": 0.75, "molecules_auc_top_10": area}
        self.assertAllClose(evaluate.describe_calls(calls, 10), expected)
        none = evaluate.describe_calls(calls[:1], 10)
        self.assertEqual(none["molecules"], 0)
        self.assertTrue(np.isnan(none["molecules_top_10"]))

    def test_the_best_molecules_are_drawn_once_each(self):
        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "best.png"
        texts = [("CCO", 0.2), ("C(", 0.0), ("c1ccccc1", 0.9), ("C1=CC=CC=C1", 0.9)]
        calls = [{"text": text, "reward": reward} for text, reward in texts]
        best = evaluate.draw_best(calls, path)
        self.assertEqual([call["text"] for call in best], ["c1ccccc1", "CCO"])
        picture = image.imread(path)
        self.assertEqual(picture.shape[1], 1200)
        self.assertLess(np.min(picture[..., :3]), 0.5)


class CommandTest(tf.test.TestCase):
    def test_runs_from_different_priors_have_different_directories(self):
        output = Path("runs")
        priors = (output / "prior-nci", output / "prior-moses", "elsewhere/mine")
        found = [command.directory_of(output, "qed", prior, 0) for prior in priors]
        self.assertEqual([d.name for d in found], ["qed-nci-0", "qed-moses-0", "qed-mine-0"])

    def test_what_it_shows_is_the_runs_calls_not_all_lines_of_their_file(self):
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        calls = [{"call": 1, "text": "CCO", "reward": 0.5}]
        (directory / "summary.json").write_text('{"calls": {"auc_top_10": 0.25}}')
        with (
            mock.patch.object(regan_tf, "load_run") as load_run,
            contextlib.redirect_stdout(io.StringIO()) as output,
        ):
            load_run.return_value.calls.return_value = calls
            command._show(directory, 1)
        self.assertIn("the best of 1 molecules in 1 calls:\n0.5000  CCO\n", output.getvalue())
        self.assertIn("as PMO counts, 0.2500; over all calls 0.2500", output.getvalue())
        self.assertTrue((directory / "best.png").exists())


@pytest.mark.slow
class RunTest(tf.test.TestCase):
    def test_a_prior_is_trained_optimised_exported_and_continues_a_scaffold(self):
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        train, test = data.files("nci", directory)
        small = {"batch_size": 32, "embed_dim": 8, "generator_dim": 16, "eval_samples": 50}
        of_texts = {"dataset": "text", "tokens": "char", "token_pattern": data.TOKEN_PATTERN}
        regan_tf.train(
            data_file=str(train), eval_file=str(test), heldout_size=50, iterations=0, seq_len=16,
            pretrain_epochs=0.5, pretrain_decay=True, pretrain_patience=0, export_generator="none",
            workdir=str(directory / "prior"), **small, **of_texts,
        )  # fmt: skip
        small.pop("embed_dim")
        run = regan_tf.train(
            start_from=str(directory / "prior"), reward="examples.molecules.rewards:median1",
            reward_calls=96, workdir=str(directory / "run"), export_generator="none",
            eval_samples=50, batch_size=32,
        )  # fmt: skip
        self.assertEqual(run.config.token_pattern, data.TOKEN_PATTERN)
        calls = [json.loads(line) for line in (directory / "run/calls.jsonl").open()]
        self.assertLen(calls, 96)
        self.assertTrue(all(call["valid"] or call["reward"] == 0 for call in calls))
        scaffold = "[nH]1c(Br)ccc1"
        self.assertTrue(all(t.startswith(scaffold) for t in run.sample(4, prefix=scaffold)))
        signatures = tf.saved_model.load(str(run.export(directory / "export"))).signatures
        rows = signatures["generate"](
            seed=tf.range(4, dtype=tf.int64),
            temperature=tf.ones(4),
            prefix=tf.fill([4], scaffold),
        )
        self.assertTrue(np.all(rows["valid"]))
        texts = [text.decode() for text in rows["text"].numpy()]
        self.assertTrue(all(text.startswith(scaffold) for text in texts), texts)
        self.assertEqual(run.vocabulary.to_text(rows["tokens"].numpy()), texts)


if __name__ == "__main__":
    tf.test.main()
