"""Rewards for the design of an RNA that folds into a target structure, by ViennaRNA.

The name of a reward is its target, that of one below, or a structure itself:

  --reward=examples/rna/reward.py:frog_foot
  --reward='examples/rna/reward.py:((((....))))'

so that worker processes and a run that goes on find the same target by it.
"""

import functools
import re

import RNA

import regan_tf

# Of Eterna100-V2 (Koodli et al. 2021, https://doi.org/10.1101/2021.08.26.457839; V1: Anderson-Lee
# et al. 2016) the first ten puzzles of 30 to 60 nucleotides ...
TARGETS = {
    "prion_pseudoknot": "((((((.((((....))))))).)))..........",
    "frog_foot": "..........((((....))))((((....))))((((...))))",
    "inforna_16": "((((((.((((((((....))))).)).).))))))",
    "small_and_easy_6": "(((((.....))..((.........)))))",
    "inforna_bulge_9": "(((((((.(.(.(.(((((((....)))))))))))))))))",
    "u": ".....(((((.(.(.((.(.(((((((((....))))))))))))))))))).....",
    "corner_bulge": ".(((((((((((...)))))....)))))).",
    "worm_1": ".......(.(.(.(.(.((.((.(....).)).)).).).).).)",
    "tripod_5": "..((((((((.....))))((((.....))))))))..",
    "shortie_6": "((....)).((....)).((....)).((....))",
}
# ... and others, on which rates and weights were chosen.
TUNED = {
    "stickshift": "..((((((((.....)).))))))..",
    "zigzag_semicircle": "....(((((((((.((....))).)).).)))))....",
    "branching_loop": ".(((((........)((((....))))..)))).......",
    "misfolded_aptamer": "((((......(((((...))).((....)).........)).....))))",
}


def structure_of(target):
    """The dot-bracket of a target, its name or a structure itself. Raises ValueError if
    it is neither.
    """
    structure = (TARGETS | TUNED).get(target, target)
    if not re.fullmatch(r"\.*\([().]+", structure) or RNA.ptable(structure) is None:
        raise ValueError(
            f"{target!r} is no structure of dots and balanced brackets with a pair, nor one of "
            f"{', '.join(TARGETS | TUNED)}"
        )
    return structure


def pairs_of(structure):
    """The pairs of a dot-bracket: a list of (i, j), i < j, from 0, by i."""
    partners = list(RNA.ptable(structure))[1:]  # from 1; 0: none
    return [(i, j - 1) for i, j in enumerate(partners) if i < j - 1]


def rna_of(structure, text):
    """The RNA, 5' to 3', that a text of the generator stands for.

    The generator writes pair by pair, the two letters of each side by side, then what is unpaired.
    So it meets at once what must match, and learns it once for all pairs; in the RNA's own order an
    LSTM hardly learns where it is before it is certain.

    Raises ValueError if the text has not as many letters as the structure.
    """
    if len(text) != len(structure):
        raise ValueError(
            f"the target has {len(structure)} letters: take --seq_len={len(structure)}"
        )
    paired = [place for pair in pairs_of(structure) for place in pair]
    places = paired + [i for i, symbol in enumerate(structure) if symbol == "."]
    return "".join(letter for _, letter in sorted(zip(places, text, strict=True)))


def design(structure, texts):
    """How near RNAs are to folding into a structure, by their own of least free energy.

        reward = F1 - gap / (3 n),   F1 = 2 |P & P*| / (|P| + |P*|)

    P and P* are the pairs of the RNA's structure and of the target, n = |P*|. As long as no pair is
    right F1 is no help; the gap is, the energy of the target minus that of the RNA's structure: a
    pair that cannot form costs about 3 kcal/mol. The share of right places, which is often taken,
    would be high for an RNA without any pair.

    Args:
      structure: the target.
      texts: N texts for `rna_of`.
    Returns:
      A dict of lists of N: "reward", at most 1; "pairs", F1; "gap" in kcal/mol; "solved", 1.0 where
      the structures are the same.
    """
    rows = [_design(structure, rna_of(structure, text)) for text in texts]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _design(structure, rna):
    fold = RNA.fold_compound(rna)
    found, energy = fold.mfe()
    wanted, has = set(pairs_of(structure)), set(pairs_of(found))
    f1 = 2 * len(wanted & has) / (len(wanted) + len(has))
    gap = max(0.0, fold.eval_structure(structure) - energy)
    reward = f1 - gap / (3 * len(wanted))
    return {"reward": reward, "pairs": f1, "gap": gap, "solved": float(found == structure)}


def __getattr__(name):
    """The reward of a target: `getattr(module, target)`."""
    try:
        structure = structure_of(name)
    except ValueError as error:
        raise AttributeError(str(error)) from None
    return regan_tf.text_reward(functools.partial(design, structure))
