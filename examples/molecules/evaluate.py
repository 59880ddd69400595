"""What molecules are judged by, as MOSES does (Polykovskiy et al. 2020), and pictures of the best.

python -m examples.molecules.evaluate --workdir=runs/molecules/prior-moses
python -m examples.molecules.evaluate --workdir=runs/molecules/qed-0 --pictures=best.png
"""

import importlib
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from absl import app, flags
from rdkit import Chem, DataStructs
from rdkit.Chem import Draw, rdFingerprintGenerator

import regan_tf
from examples.molecules.rewards import molecule
from regan_tf.estimators.calls import auc_top, top_mean

_COMPARED = 2_000  # of the valid ones, in pairs
_FINGERPRINT = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)


def describe(
    smiles: Sequence[str], known: Collection[str], reference: Sequence[str] = ()
) -> dict[str, float]:
    """Figures of generated SMILES, [N].

    valid: share that are molecules. unique: different ones over valid ones. novel: share of the
    different ones that are not among `known`. diversity: `internal_diversity` of the first 2,000
    valid ones. fcd: `frechet_distance` of the valid ones from `reference`, where there is one and
    the package fcd is installed.

    Args:
      smiles: as a generator writes them.
      known: canonical SMILES of the training molecules.
      reference: SMILES of held-out molecules, for fcd.
    """
    found = [Chem.MolToSmiles(each) for each in map(molecule, smiles) if each]
    different = set(found)
    result = {
        "valid": len(found) / len(smiles),
        "unique": len(different) / max(len(found), 1),
        "novel": len(different.difference(known)) / max(len(different), 1),
        "diversity": internal_diversity(found[:_COMPARED]),
    }
    fcd = frechet_distance(found, reference) if len(reference) else None
    return result if fcd is None else result | {"fcd": fcd}


def internal_diversity(smiles: Sequence[str]) -> float:
    """One minus the mean Tanimoto similarity of all pairs, a molecule with itself among them, of
    Morgan fingerprints of radius 2 and 1,024 bits: MOSES' IntDiv1. NaN without molecules.
    """
    prints = [_FINGERPRINT.GetFingerprint(Chem.MolFromSmiles(each)) for each in smiles]
    means = [np.mean(DataStructs.BulkTanimotoSimilarity(each, prints)) for each in prints]
    return 1 - float(np.mean(means)) if means else np.nan


def frechet_distance(smiles: Sequence[str], reference: Sequence[str]) -> float | None:
    """The Fréchet ChemNet Distance (Preuer et al. 2018) of two sets; None without the package."""
    try:
        fcd = importlib.import_module("fcd")  # no extra of ours has it: it needs PyTorch
    except ImportError:
        return None
    return float(fcd.get_fcd(list(smiles), list(reference)))


def distinct_calls(calls: Sequence[dict]) -> list[dict]:
    """Calls as PMO (Gao et al. 2022) counts them: of each molecule the first one, whichever way it
    was written, and none of a text that is no molecule.

    Args:
      calls: of a run, in order, as `TrainedRun.calls` gives them.
    """
    found: dict[str, dict] = {}
    for call in calls:
        if each := molecule(call["text"]):
            found.setdefault(Chem.MolToSmiles(each), call)
    return list(found.values())


def describe_calls(calls: Sequence[dict], budget: int) -> dict[str, float]:
    """Figures of the `distinct_calls`: how many, the mean of the 10 best, and the area under its
    curve over so many calls, as `auc_top` has it.
    """
    rewards = np.array([call["reward"] for call in distinct_calls(calls)])
    return {
        "molecules": len(rewards),
        "molecules_top_10": top_mean(rewards, 10),
        "molecules_auc_top_10": auc_top(rewards, 10, budget),
    }


def draw(smiles: Sequence[str], captions: Sequence[str], path: str | Path, columns: int = 4):
    """Writes a PNG of molecules side by side, each above its caption."""
    molecules = [Chem.MolFromSmiles(each) for each in smiles]
    image = Draw.MolsToGridImage(
        molecules, molsPerRow=columns, subImgSize=(300, 240), legends=list(captions)
    )
    image.save(path)


def draw_best(calls: Sequence[dict], path: str | Path, count: int = 12) -> list[dict]:
    """Draws the best molecules of a run's calls, each once; returns their calls."""
    best = sorted(distinct_calls(calls), key=lambda call: -call["reward"])[:count]
    draw([call["text"] for call in best], [f"{call['reward']:.3f}" for call in best], path)
    return best


def _main(_):
    asked = flags.FLAGS
    try:
        run = regan_tf.load_run(asked.workdir)
        known = _lines(run.config.data_file)
        reference = _lines(run.config.eval_file) if run.config.eval_file else []
        smiles = run.sample(asked.num, temperature=asked.temperature)
        found = describe(smiles, set(known), reference)
        if calls := run.calls():
            found |= describe_calls(calls, run.config.reward_calls)
        for name, value in found.items():
            print(f"{name}: {value}" if isinstance(value, int) else f"{name}: {value:.4f}")
        if asked.pictures:
            draw_best(calls, asked.pictures)
    except (regan_tf.UserError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


def _lines(path):
    return Path(path).read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Directory of the run.", required=True)
    flags.DEFINE_integer("num", 10_000, "Molecules to sample.", lower_bound=1)
    flags.DEFINE_float("temperature", 1.0, "Sampling temperature.")
    flags.DEFINE_string("pictures", "", "PNG of the best molecules that the reward was asked for.")
    app.run(_main)
