"""Pieces of a study: kept, taken up again, refused where they are others."""

import functools
import json
import tempfile
from pathlib import Path

import pytest
import tensorflow as tf

from regan_tf.config import UserError
from regan_tf.studies import pieces
from regan_tf.studies.pieces import Piece


def _noted(path, number):
    """Adds a line to a file; half of the number."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{number}\n")
    return number / 2


def _fail():
    raise UserError("no such luck")


class PiecesTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.notes = self.directory / "notes"
        self.notes.touch()

    def _piece(self, number, draws=40):
        measure = functools.partial(_noted, self.notes, number)
        return Piece(self.directory / "pieces" / f"{number}.json", {"draws": draws}, measure)

    def _measured(self):
        return sorted(self.notes.read_text().split())

    def test_a_piece_is_measured_once(self):
        piece = self._piece(3)
        self.assertIsNone(piece.kept())
        self.assertEqual([piece.result(), piece.result(), piece.kept()], [1.5, 1.5, 1.5])
        self.assertEqual(self._measured(), ["3"])

    def test_one_that_was_measured_in_another_way_is_refused(self):
        self._piece(3).result()
        with self.assertRaisesRegex(UserError, "3.json was measured with draws=40, not 80"):
            self._piece(3, draws=80).kept()

    def test_a_damaged_one_is_named(self):
        self._piece(3).result()
        for text in ("{", "[]", json.dumps({"settings": {}})):
            self._piece(3).path.write_text(text)
            with self.assertRaisesRegex(UserError, "3.json cannot be read"):
                self._piece(3).kept()

    @pytest.mark.slow
    def test_a_study_goes_on_after_a_failure_with_what_is_missing(self):
        bad = Piece(self.directory / "pieces" / "bad.json", {}, _fail)
        study = {number: self._piece(number) for number in (1, 2)}
        with self.assertRaisesRegex(UserError, "bad.log: error: no such luck; the same command"):
            pieces.measure(study | {"bad": bad}, 1, "trial")
        self.assertEqual(self._measured(), ["1", "2"])
        study[3] = self._piece(3)
        self.assertEqual(pieces.measure(study, 2, "trial"), {1: 0.5, 2: 1.0, 3: 1.5})
        self.assertEqual(self._measured(), ["1", "2", "3"])
        self.assertEqual([*self.directory.glob("pieces/[0-9].log")], [])


if __name__ == "__main__":
    tf.test.main()
