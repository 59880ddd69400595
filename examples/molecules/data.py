"""Molecules to learn from, as files of SMILES.

  python -m examples.molecules.data --data=moses
  python -m examples.molecules.data --data=nci

moses: the training and the test set of MOSES (Polykovskiy et al. 2020), from the wheel of molsets.
nci: the 5,000 molecules that RDKit brings along, for a first look.
"""

import gzip
import importlib.util
import os
import random
from pathlib import Path

from absl import app, flags

from regan_tf.config import UserError

TRAIN_SIZE, TEST_SIZE = 500_000, 10_000  # of MOSES: what a small network can learn from in an hour
SOURCES = ("moses", "nci")
_SEED = 0

# Atoms in brackets, atoms of two letters, and numbers of rings from 10 on are one token; all else
# is a token a character.
TOKEN_PATTERN = r"\[[^\]]+\]|Br|Cl|%[0-9][0-9]"


def files(data: str, directory: str | Path) -> tuple[Path, Path]:
    """The files of training and test SMILES, one a line, written where they are not there yet.

    Args:
      data: "moses" or "nci".
      directory: where they are.
    Raises:
      UserError: the package that has them is not installed.
    """
    found = tuple(Path(directory) / f"{data}_{part}.txt" for part in ("train", "test"))
    if not all(path.exists() for path in found):
        train, test = {"moses": _moses, "nci": _nci}[data]()
        Path(directory).mkdir(parents=True, exist_ok=True)
        for path, lines in zip(found, (train, test), strict=True):
            unfinished = path.with_suffix(".tmp")
            unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
            os.replace(unfinished, path)
    return found


def _moses():
    """So many of the training and of the test set, drawn at random."""
    directory = _package("moses", "pip install --no-deps molsets==0.3.1, or take --data=nci")
    return [
        _some(_lines(directory / f"dataset/data/{part}.csv.gz")[1:], size)
        for part, size in (("train", TRAIN_SIZE), ("test", TEST_SIZE))
    ]


def _nci():
    """Nine tenths and one tenth of RDKit's molecules that are not too long and have one part."""
    _package("rdkit", "pip install 'regan-tf[molecules]'")
    from rdkit import Chem, RDConfig

    lines = (Path(RDConfig.RDDataDir) / "NCI/first_5K.smi").read_text().splitlines()
    found = {}
    for line in lines:
        molecule = Chem.MolFromSmiles(line.split()[0])
        if molecule and len(smiles := Chem.MolToSmiles(molecule)) <= 80 and "." not in smiles:
            found[smiles] = None
    mixed = _some(list(found), len(found))
    return mixed[len(mixed) // 10 :], mixed[: len(mixed) // 10]


def _package(name, remedy):
    """The directory of an installed package, which need not be importable."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise UserError(f"the package {name} is missing, which has the molecules: {remedy}")
    return Path(spec.submodule_search_locations[0])


def _lines(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read().split()


def _some(lines, size):
    return random.Random(_SEED).sample(lines, size)


def _main(_):
    try:
        for path in files(flags.FLAGS.data, flags.FLAGS.output):
            print(f"{sum(1 for _ in path.open())} molecules in {path}")
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    flags.DEFINE_enum("data", "moses", SOURCES, "Which molecules.")
    flags.DEFINE_string("output", "runs/molecules/data", "Directory of the files.")
    app.run(_main)
