"""Rewards of molecules written as SMILES: QED, and goal-directed tasks of GuacaMol (Brown et al.
2019), those that need RDKit alone.

    --reward=examples.molecules.rewards:qed

Every task is a mean of terms, and every term a property of the molecule, mapped to [0, 1]. Targets,
properties and constants are GuacaMol's, whose own package gives the same numbers. (PMO, Gao et al.
2022, took over most of them; some of its constants and means differ.) A SMILES that RDKit cannot
read has reward 0 and "valid" false.
"""

import functools
import math
import re
from collections.abc import Callable

from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import QED, Crippen, rdFingerprintGenerator, rdMolDescriptors

import regan_tf

Term = Callable[[Chem.Mol], float]


def molecule(smiles: str) -> Chem.Mol | None:
    """What RDKit reads, without its log; None where that is no molecule, or an empty one."""
    with rdBase.BlockLogs():
        found = Chem.MolFromSmiles(smiles)
    return found if found is not None and found.GetNumAtoms() else None


# Modifiers: from a property to [0, 1].


def _near(mu, sigma):
    """exp(-((x - mu) / sigma)^2 / 2)."""
    return lambda x: math.exp(-0.5 * ((x - mu) / sigma) ** 2)


def _at_most(mu, sigma):
    """1 up to mu, then as `_near`."""
    return lambda x: _near(mu, sigma)(max(x, mu))


def _at_least(mu, sigma):
    """1 from mu on, before it as `_near`."""
    return lambda x: _near(mu, sigma)(min(x, mu))


def _up_to(threshold):
    """x / threshold, from there on 1."""
    return lambda x: min(x / threshold, 1.0)


# Properties.

_FEATURES = rdFingerprintGenerator.GetMorganFeatureAtomInvGen()
_FINGERPRINTS = {
    "ECFP4": rdFingerprintGenerator.GetMorganGenerator(radius=2),
    "ECFP6": rdFingerprintGenerator.GetMorganGenerator(radius=3),
    "FCFP4": rdFingerprintGenerator.GetMorganGenerator(2, atomInvariantsGenerator=_FEATURES),
    "AP": rdFingerprintGenerator.GetAtomPairGenerator(maxDistance=10),
}


def _similarity(kind, smiles):
    """Tanimoto similarity of counted fingerprints to a target."""
    fingerprint = _FINGERPRINTS[kind].GetSparseCountFingerprint
    target = fingerprint(Chem.MolFromSmiles(smiles))
    return lambda found: DataStructs.TanimotoSimilarity(fingerprint(found), target)


def _count(element):
    """How many atoms of an element there are, hydrogen included."""

    def count(found):
        atoms = Chem.AddHs(found).GetAtoms() if element == "H" else found.GetAtoms()
        return sum(atom.GetSymbol() == element for atom in atoms)

    return count


def _size(found):
    return Chem.AddHs(found).GetNumAtoms()


_log_p, _tpsa = Crippen.MolLogP, rdMolDescriptors.CalcTPSA
_rings, _aromatic = rdMolDescriptors.CalcNumRings, rdMolDescriptors.CalcNumAromaticRings


# Tasks: means of terms.


def _of(modifier, prop) -> Term:
    return lambda found: modifier(prop(found))


def _arithmetic(*terms) -> Term:
    return lambda found: sum(term(found) for term in terms) / len(terms)


def _geometric(*terms) -> Term:
    return lambda found: math.prod(term(found) for term in terms) ** (1 / len(terms))


def _isomers(formula) -> Term:
    """How near the numbers of atoms, of each element and of all, are to a formula's."""
    numbers = {e: int(n or 1) for e, n in re.findall(r"([A-Z][a-z]?)(\d*)", formula)}
    of_elements = [_of(_near(n, 1), _count(element)) for element, n in numbers.items()]
    return _geometric(*of_elements, _of(_near(sum(numbers.values()), 2), _size))


_ALBUTEROL = "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1"
_AMLODIPINE = r"Clc1ccccc1C2C(=C(/N/C(=C2/C(=O)OCC)COCCN)C)\C(=O)OC"
_CAMPHOR, _MENTHOL = "CC1(C)C2CCC1(C)C(=O)C2", "CC(C)C1CCC(C)CC1O"
_CELECOXIB = "CC1=CC=C(C=C1)C1=CC(=NN1C1=CC=C(C=C1)S(N)(=O)=O)C(F)(F)F"
_FEXOFENADINE = "CC(C)(C(=O)O)c1ccc(cc1)C(O)CCCN2CCC(CC2)C(O)(c3ccccc3)c4ccccc4"
_MESTRANOL = "COc1ccc2[C@H]3CC[C@@]4(C)[C@@H](CC[C@@]4(O)C#C)[C@@H]3CCc2c1"
_OSIMERTINIB = "COc1cc(N(C)CCN(C)C)c(NC(=O)C=C)cc1Nc2nccc(n2)c3cn(C)c4ccccc34"
_PERINDOPRIL = "O=C(OCC)C(NC(C(=O)N1C(C(=O)O)CC2CCCCC12)C)CCC"
_RANOLAZINE = "COc1ccccc1OCC(O)CN2CCN(CC(=O)Nc3c(C)cccc3C)CC2"
_SILDENAFIL = "CCCC1=NN(C2=C1N=C(NC2=O)C3=C(C=CC(=C3)S(=O)(=O)N4CCN(CC4)C)OCC)C"
_SITAGLIPTIN = "Fc1cc(c(F)cc1F)CC(N)CC(=O)N3Cc2nnc(n2CC3)C(F)(F)F"
_TADALAFIL = "O=C1N(CC(N2C1CC3=C(C2C4=CC5=C(OCO5)C=C4)NC6=C3C=CC=C6)=O)C"
_THIOTHIXENE = "CN(C)S(=O)(=O)c1ccc2Sc3ccccc3C(=CCCN4CCN(C)CC4)c2c1"
_TROGLITAZONE = "Cc1c(C)c2OC(C)(COc3ccc(CC4SC(=O)NC4=O)cc3)CCc2c(C)c1O"
_ZALEPLON = "O=C(C)N(CC)C1=CC=CC(C2=CC=NC3=C(C=NN23)C#N)=C1"

_TERMS: dict[str, Term] = {
    "qed": QED.qed,
    "celecoxib_rediscovery": _similarity("ECFP4", _CELECOXIB),
    "thiothixene_rediscovery": _similarity("ECFP4", _THIOTHIXENE),
    "troglitazone_rediscovery": _similarity("ECFP4", _TROGLITAZONE),
    "albuterol_similarity": _of(_up_to(0.75), _similarity("FCFP4", _ALBUTEROL)),
    "mestranol_similarity": _of(_up_to(0.75), _similarity("AP", _MESTRANOL)),
    "isomers_c7h8n2o2": _isomers("C7H8N2O2"),
    "isomers_c9h10n2o2pf2cl": _isomers("C9H10N2O2PF2Cl"),
    "median1": _geometric(_similarity("ECFP4", _CAMPHOR), _similarity("ECFP4", _MENTHOL)),
    "median2": _geometric(_similarity("ECFP6", _TADALAFIL), _similarity("ECFP6", _SILDENAFIL)),
    "osimertinib_mpo": _geometric(
        _of(_up_to(0.8), _similarity("FCFP4", _OSIMERTINIB)),
        _of(_at_most(0.85, 0.1), _similarity("ECFP6", _OSIMERTINIB)),
        _of(_at_least(100, 10), _tpsa),
        _of(_at_most(1, 1), _log_p),
    ),
    "fexofenadine_mpo": _geometric(
        _of(_up_to(0.8), _similarity("AP", _FEXOFENADINE)),
        _of(_at_least(90, 10), _tpsa),
        _of(_at_most(4, 1), _log_p),
    ),
    "ranolazine_mpo": _arithmetic(
        _of(_up_to(0.7), _similarity("AP", _RANOLAZINE)),
        _of(_at_least(7, 1), _log_p),
        _of(_near(1, 1), _count("F")),
        _of(_at_most(1, 1), _aromatic),
    ),
    "perindopril_mpo": _geometric(
        _similarity("ECFP4", _PERINDOPRIL), _of(_near(2, 0.5), _aromatic)
    ),
    "amlodipine_mpo": _geometric(_similarity("ECFP4", _AMLODIPINE), _of(_near(3, 0.5), _rings)),
    "sitagliptin_mpo": _geometric(
        _of(_near(0, 0.1), _similarity("ECFP4", _SITAGLIPTIN)),
        _of(_near(_log_p(Chem.MolFromSmiles(_SITAGLIPTIN)), 0.2), _log_p),
        _of(_near(_tpsa(Chem.MolFromSmiles(_SITAGLIPTIN)), 5), _tpsa),
        _isomers("C16H15F6N5O"),
    ),
    "zaleplon_mpo": _geometric(_similarity("ECFP4", _ZALEPLON), _isomers("C19H17N3O2")),
}
TASKS = tuple(_TERMS)


def _scored(term, texts):
    """The reward of SMILES, and whether they are molecules: two lists of N."""
    molecules = [molecule(text) for text in texts]
    return {
        "reward": [0.0 if found is None else term(found) for found in molecules],
        "valid": [found is not None for found in molecules],
    }


@functools.cache
def __getattr__(name):
    """The reward of a task: `rewards.qed`."""
    if name not in _TERMS:
        raise AttributeError(f"there is no task {name!r}: take one of {', '.join(TASKS)}")
    return regan_tf.text_reward(functools.partial(_scored, _TERMS[name]))
