"""The notebook runs as a reader runs it, and shows no more than it means to."""

import ast
import os
import tempfile
from pathlib import Path
from unittest import mock

import matplotlib.font_manager  # noqa: F401  (makes its cache, of which it would tell the notebook)
import nbformat
import pytest
import tensorflow as tf
from nbclient import NotebookClient

_ROOT = Path(__file__).parent.parent


@pytest.mark.slow
class QuickstartTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.notebook = nbformat.read(_ROOT / "examples/quickstart.ipynb", as_version=4)
        cls.kept = [output for cell in cls.notebook.cells for output in cell.get("outputs", [])]
        directory = cls.enterClassContext(tempfile.TemporaryDirectory())
        client = NotebookClient(
            cls.notebook, timeout=300, resources={"metadata": {"path": directory}}
        )
        elsewhere = {"IPYTHONDIR": directory, "JUPYTER_RUNTIME_DIR": directory}
        with mock.patch.dict(os.environ, elsewhere | {"PYTHONPATH": str(_ROOT)}):
            client.execute()
        cls.shown = [output for cell in cls.notebook.cells for output in cell.get("outputs", [])]

    def _texts(self, stream):
        return [output.text for output in self.shown if output.get("name") == stream]

    def test_it_is_kept_without_outputs(self):
        self.assertEmpty(self.kept)

    def test_it_shows_bars_and_pictures(self):
        kinds = [kind for output in self.shown for kind in output.get("data", {})]
        self.assertEqual(kinds.count("application/vnd.jupyter.widget-view+json"), 4)
        self.assertEqual(kinds.count("image/png"), 3)

    def test_it_shows_no_logs(self):
        self.assertEmpty(self._texts("stderr"))
        self.assertNotIn("INFO", "".join(self._texts("stdout")))

    def test_its_own_reward_is_learned(self):
        learned = ast.literal_eval(self._texts("stdout")[-1])
        self.assertGreater("".join(learned).count("*"), 20)  # of 24


if __name__ == "__main__":
    tf.test.main()
