"""Rewards of texts and tokens: how they are found."""

import pathlib
import string
import sys

import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.config import UserError
from regan_tf.estimators import reward_functions

_TEXTS = ["a", "bb", "c"]


class LoadTest(tf.test.TestCase, parameterized.TestCase):
    def test_by_module_or_file(self):
        self.assertIs(reward_functions.load(f"{__name__}:len_of"), len_of)
        path = pathlib.Path(self.get_temp_dir(), "my_reward.py")
        path.write_text("def reward(rows):\n    return rows\n")
        self.assertEqual(reward_functions.load(f"{path}:reward")(3), 3)

    def test_a_file_takes_no_other_modules_name_and_sees_its_neighbours(self):
        directory = pathlib.Path(self.get_temp_dir(), "own")
        directory.mkdir()
        (directory / "beside_it.py").write_text("VALUE = 7\n")
        (directory / "string.py").write_text("from beside_it import VALUE as reward\n")
        with self.assertRaisesRegex(UserError, "string.py:reward is not callable"):
            reward_functions.load(f"{directory}/string.py:reward")
        self.assertTrue(string.ascii_letters)
        self.assertIs(sys.modules["string"], string)

    @parameterized.parameters(
        ("nothing:reward", "cannot be loaded .ModuleNotFoundError: No module named 'nothing'"),
        ("/nowhere.py:reward", "cannot be loaded .FileNotFoundError.*file.py:function"),
        ("len", "is not allowed: it must be module:function, .* or file.py:function"),
        (f"{__name__}:lenof", "is not there: .* has no lenof: did you mean len_of"),
        (f"{__name__}:other", f"is not there: {__name__} has no other$"),
        (f"{__name__}:_TEXTS", "is not callable"),
    )
    def test_what_cannot_be_loaded_is_named(self, name, message):
        with self.assertRaisesRegex(UserError, f"^--reward={name} {message}"):
            reward_functions.load(name)

    def test_it_stays_the_function_that_it_was(self):
        self.assertEqual(len_of(["a"]), [1])
        self.assertEqual((len_of.__name__, len_of.__doc__), ("len_of", "Lengths."))
        with self.assertRaisesRegex(TypeError, "3 is not a function"):
            regan_tf.token_reward(3)


@regan_tf.text_reward
def len_of(texts):
    """Lengths."""
    return [len(text) for text in texts]


if __name__ == "__main__":
    tf.test.main()
