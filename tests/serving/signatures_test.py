"""The signatures of numbers alone: the same as those of texts, also in a runtime that has no
TensorFlow in it, where that is installed.
"""

import pathlib

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from regan_tf.serving import counter_rng
from regan_tf.serving.signatures import ServedModel
from regan_tf.tasks.text import Vocabulary
from tests import problems

_LENGTH, _ROWS = 4, 100
_MARGIN = 1e-5  # nearer to a boundary another runtime's rounding may draw another token


class _Case(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.generator, discriminator = problems.networks(0, 6, _LENGTH, spread=0.7, end_token=0)
        vocabulary = Vocabulary(("<end>", "a", "b", "c", "d", "e"), "", 0, None)
        file = pathlib.Path(self.get_temp_dir()) / "vocabulary.txt"
        file.write_text("".join(f"{symbol}\n" for symbol in vocabulary.symbols))
        self.model = ServedModel(self.generator, discriminator, vocabulary, str(file))
        self.served = self.model.functions
        rng = np.random.default_rng(0)
        self.tokens = rng.integers(0, 6, [_ROWS, _LENGTH]).astype(np.int32)
        self.tokens[3, 1] = 6
        self.seeds = rng.integers(-(2**63), 2**63, _ROWS)
        prefix = np.full([_ROWS, _LENGTH], -1, np.int32)
        prefix[::2, :2] = [3, 5]
        self.inputs = {
            "seed": self.seeds.view(np.int32).reshape(_ROWS, 2),
            "temperature": rng.uniform(0.5, 1.5, _ROWS).astype(np.float32),
            "prefix": prefix,
        }


class TokensTest(_Case):
    def test_they_are_what_generate_gives_for_the_same_seed_and_prefix(self):
        texts = self.served["generate"](
            self.seeds, self.inputs["temperature"], np.array(["ce", ""] * (_ROWS // 2), object)
        )
        found = self.served["generate_tokens"](**self.inputs)
        for name in texts.keys() - {"text"}:
            self.assertAllEqual(found[name], texts[name])
        self.assertTrue(np.all(found["valid"]))
        self.assertAllEqual(found["tokens"][::2, :2], [[3, 5]] * (_ROWS // 2))

    def test_a_row_that_cannot_be_begun_is_invalid_and_disturbs_no_other(self):
        wrong = ([6, -1, -1, -1], [0, -1, -1, -1], [-1, 3, -1, -1], [3, -1, 5, -1])
        whole = self.served["generate_tokens"](**self.inputs)
        self.inputs["prefix"][: len(wrong)] = wrong
        self.inputs["temperature"][4:7] = [0, np.nan, np.inf]
        found = self.served["generate_tokens"](**self.inputs)
        self.assertAllEqual(found["valid"], [False] * 7 + [True] * (_ROWS - 7))
        for name, values in found.items():
            self.assertAllEqual(values[7:], whole[name][7:])
            self.assertAllEqual(values[:7], np.zeros_like(values[:7]))


@pytest.mark.slow
class OpenVinoTest(_Case):
    def setUp(self):
        super().setUp()
        path = f"{self.get_temp_dir()}/model"
        tf.saved_model.save(self.model, path, signatures=self.served)
        self.loaded = tf.saved_model.load(path)

    def _assert_close(self, signature, inputs):
        """Runs a signature there, and holds it against TensorFlow; returns what it gives."""
        openvino = pytest.importorskip("openvino")

        function = self.loaded.signatures[signature]
        # By default a CPU may compute in bfloat16.
        model = openvino.compile_model(
            openvino.convert_model(function), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
        found = {output.get_any_name(): value for output, value in model(inputs).items()}
        expected = function(**{name: tf.constant(value) for name, value in inputs.items()})
        self.assertCountEqual(found, expected)
        self.assertAllEqual(found["valid"], expected["valid"])
        for name in found.keys() - {"valid", "tokens"}:
            self.assertAllClose(found[name], expected[name], rtol=0, atol=1e-4)
        return found, expected

    def test_scores_and_probabilities(self):
        for signature in ("score_tokens", "discriminate"):
            found, _ = self._assert_close(signature, {"tokens": self.tokens})
            self.assertEqual(np.mean(found["valid"]), 1 - 1 / _ROWS)

    def test_tokens(self):
        near = self._margins() < _MARGIN
        self.inputs["temperature"][near] = -1  # such a row is invalid
        found, expected = self._assert_close("generate_tokens", self.inputs)
        self.assertGreater(np.mean(found["valid"]), 0.9)
        self.assertAllEqual(found["tokens"], expected["tokens"])
        self.assertGreater(len(np.unique(found["tokens"], axis=0)), 20)

    def _margins(self):
        """How far, at least, a row's uniform numbers are from making another token: [B]."""
        logits = self.generator(self.served["generate_tokens"](**self.inputs)["tokens"]).numpy()
        logits = logits.astype(np.float64) / self.inputs["temperature"][:, np.newaxis, np.newaxis]
        boundaries = np.cumsum(scipy.special.softmax(logits, axis=-1), axis=-1)[..., :-1]
        uniform = counter_rng.uniform_rows(self.inputs["seed"], _LENGTH).numpy()
        return np.abs(uniform[..., np.newaxis] - boundaries).min(axis=(1, 2))


if __name__ == "__main__":
    tf.test.main()
