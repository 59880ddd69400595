"""The SavedModel: the same law as the live generator, row by row, loadable without Keras."""

import json
import subprocess
import sys

import numpy as np
import scipy.stats
import tensorflow as tf
from absl.testing import parameterized

from regan_tf import counter_rng, data, export
from regan_tf.config import UserError
from tests import problems

# Runs in a process in which Keras cannot be imported.
_LOAD = """
import json, sys
sys.modules["keras"] = sys.modules["tf_keras"] = None
import numpy as np
import tensorflow as tf
path, seeds = sys.argv[1], np.arange(64, dtype=np.int64)
served = tf.saved_model.load(path).signatures["serving_default"](seed=tf.constant(seeds))
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], path)
    signature = meta.signature_def["serving_default"]
    names = {name: info.name for name, info in signature.outputs.items()}
    old = session.run(names, {signature.inputs["seed"].name: seeds})
ops = {n.op for f in meta.graph_def.library.function for n in f.node_def} | {n.op for n in meta.graph_def.node}
xla = [f.signature.name for f in meta.graph_def.library.function if f.attr["_XlaMustCompile"].b]
print(json.dumps({"new": served["tokens"].numpy().tolist(), "old": old["tokens"].tolist(), "xla": xla,
                  "text": [t.decode() for t in old["text"]], "ops": sorted(ops)}))
"""


class CounterTest(tf.test.TestCase, parameterized.TestCase):
    # The vectors published with Salmon et al. 2011 (Random123, kat_vectors) for threefry2x32 with 20 rounds.
    @parameterized.parameters(
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    )
    def test_published_vectors(self, key, counter, expected):
        words = [[tf.constant(w, tf.uint32) for w in pair] for pair in (key, counter)]
        self.assertAllEqual([int(w) for w in counter_rng.threefry_2x32(*words)], expected)

    def test_rows_are_uniform_and_independent_of_their_neighbours(self):
        seeds = tf.constant([5, -3, 2**52, 0], tf.int64)
        rows = counter_rng.uniform_rows(seeds, 50, 40).numpy()
        self.assertAllEqual(rows[2:3], counter_rng.uniform_rows(seeds[2:3], 50, 40))
        for row in rows:
            self.assertGreater(scipy.stats.kstest(row.ravel(), "uniform").pvalue, 1e-3)
        self.assertLess(np.abs(np.corrcoef(rows.reshape(4, -1)) - np.eye(4)).max(), 0.1)
        self.assertTrue(np.all((rows > 0) & (rows < 1)))


class ExportTest(tf.test.TestCase):
    def test_served_in_a_fresh_process_without_keras(self):
        generator, _ = problems.networks(0, 5, 4, spread=0.7)
        path = export.publish(generator, self.get_temp_dir() + "/model")
        result = subprocess.run([sys.executable, "-c", _LOAD, str(path)], capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 0, result.stderr[-2000:])
        found = json.loads(result.stdout.splitlines()[-1])
        live = export.ServedGenerator(generator).generate(tf.range(64, dtype=tf.int64))
        self.assertAllEqual(found["new"], live["tokens"])
        self.assertAllEqual(found["old"], live["tokens"])
        self.assertEqual(found["text"], data.to_text(np.array(found["old"])))
        self.assertEmpty(found["xla"])
        self.assertEmpty([op for op in found["ops"] if "Cudnn" in op or "PyFunc" in op])

    def test_served_samples_have_the_live_law(self):
        generator, _ = problems.networks(1, 5, 3, spread=0.5)
        tokens = export.ServedGenerator(generator).generate(tf.range(40_000, dtype=tf.int64))["tokens"].numpy()
        sequences = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.int32)
        law = np.exp(generator.log_prob(sequences).numpy().astype(np.float64).sum(axis=1))
        counts = np.bincount(tokens @ [25, 5, 1], minlength=125)
        frequent = law * 40_000 > 5
        counts = [*counts[frequent], counts[~frequent].sum() + 1e-9]
        expected = np.array([*law[frequent], law[~frequent].sum() + 1e-9])
        self.assertGreater(scipy.stats.chisquare(counts, expected / expected.sum() * np.sum(counts)).pvalue, 1e-3)

    def test_a_row_depends_on_its_own_seed_alone(self):
        generator, _ = problems.networks(0, 5, 6, spread=0.7)
        generate = export.ServedGenerator(generator).generate
        seeds = np.random.default_rng(0).integers(0, 2**53, 100)
        together = generate(tf.constant(seeds))["tokens"].numpy()
        order = np.random.default_rng(1).permutation(100)
        apart = np.concatenate([generate(tf.constant(part))["tokens"] for part in np.split(seeds[order], [1, 8, 50])])
        self.assertAllEqual(together[order], apart)

    def test_versions_grow_and_are_never_overwritten(self):
        generator, _ = problems.networks(0, 5, 3)
        directory = self.get_temp_dir() + "/model"
        self.assertEqual([export.publish(generator, directory).name for _ in range(2)], ["1", "2"])
        self.assertCountEqual(tf.io.gfile.listdir(directory), ["1", "2"])

    def test_unwritable_directory_is_refused(self):
        generator, _ = problems.networks(0, 5, 3)
        with self.assertRaisesRegex(UserError, "--export_dir: /dev/null/x cannot be written"):
            export.publish(generator, "/dev/null/x")
