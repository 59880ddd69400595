"""The oracle of SeqGAN (Yu et al. 2017): an LSTM with random weights, whose law is known, as a
Generator; its parameters, drawn or read, and data of it.
"""

import hashlib
import zipfile

import numpy as np

from regan_tf.config import UserError
from regan_tf.networks.generator import Generator
from regan_tf.tasks import law

_GATES = "ifoc"  # input, forget, output, candidate: the order of networks.lstm
_KEYS = (
    "embeddings",
    *(f"{kind}{gate}" for gate in _GATES for kind in "WUb"),
    "output_kernel",
    "output_bias",
)


def parameters(config) -> dict[str, np.ndarray]:
    """The oracle's parameters, float32 by name, as in an --oracle_file:

    embeddings [V, E]; of each gate W [E, H], U [H, H], b [H]: Wi, Ui, bi, ...; output_kernel [H, V]
    and output_bias [V].

    Raises UserError if the file does not have them.
    """
    return _read(config) if config.oracle_file else _drawn(config)


def _shapes(vocab_size, embed_dim, hidden_dim):
    """By name, in the order in which they are drawn."""
    of_gate = {"W": (embed_dim, hidden_dim), "U": (hidden_dim, hidden_dim), "b": (hidden_dim,)}
    return {
        "embeddings": (vocab_size, embed_dim),
        **{f"{kind}{gate}": shape for gate in _GATES for kind, shape in of_gate.items()},
        "output_kernel": (hidden_dim, vocab_size),
        "output_bias": (vocab_size,),
    }


def _drawn(config):
    """Normal with standard deviation --oracle_scale, by NumPy, in float32: the same parameters on
    every machine.
    """
    # A stream that is not one of `data_of`, whose seed may be the same number.
    rng, dim = np.random.default_rng([config.oracle_seed, 3]), config.oracle_dim
    shapes = _shapes(config.vocab_size, dim, dim)
    return {
        name: (config.oracle_scale * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def _read(config):
    flag = f"--oracle_file={config.oracle_file}"
    try:
        with np.load(config.oracle_file) as file:
            if missing := [name for name in _KEYS if name not in file]:
                raise UserError(f"{flag} lacks {', '.join(missing)}")
            found = {name: np.asarray(file[name], np.float32) for name in _KEYS}
    except OSError as error:
        raise UserError(f"{flag} cannot be read: {error.strerror or error}") from None
    except (ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{flag} cannot be read: it must be an .npz of NumPy with arrays of numbers ({error})"
        ) from None
    _check(found, flag)
    return found


def _check(found, flag):
    """Raises UserError unless the shapes fit each other and all numbers are finite."""
    embeddings, gate = found["embeddings"], found["Ui"]
    sizes = *np.shape(embeddings)[:2], *np.shape(gate)[:1]
    if len(sizes) < 3 or 0 in sizes:
        raise UserError(f"{flag}: embeddings {embeddings.shape} must be [V, E], Ui [H, H]")
    for name, shape in _shapes(*sizes).items():
        if found[name].shape != shape:
            raise UserError(
                f"{flag}: {name} has shape {found[name].shape}; beside embeddings "
                f"{embeddings.shape} and Ui {gate.shape} it must be {shape}"
            )
        if not np.all(np.isfinite(found[name])):
            raise UserError(f"{flag}: {name} has a number that is not finite")
    if sizes[0] < 2:
        raise UserError(f"{flag} has {sizes[0]} word; there must be at least 2")


def digest(found: dict[str, np.ndarray]) -> str:
    """The SHA-256 of parameters: the same for every file that holds them."""
    content = hashlib.sha256()
    for name in _KEYS:
        content.update(f"{name} {found[name].shape}".encode())
        content.update(np.ascontiguousarray(found[name]).tobytes())
    return content.hexdigest()


def model_of(found: dict[str, np.ndarray], seq_len: int) -> Generator:
    """The Generator with these parameters. It begins by reading word 0, so the begin symbol's
    embedding is that of word 0.

    In float64: on the last digits of float32, which differ between processors, hang the tokens of
    one sequence in 2,000; on those of float64 practically none. And the states of an LSTM with such
    weights make a small error larger with every step.
    """
    (vocab_size, embed_dim), hidden_dim = found["embeddings"].shape, len(found["Ui"])
    model = Generator(vocab_size, seq_len, embed_dim, hidden_dim, dtype="float64")
    embeddings = np.concatenate([found["embeddings"], found["embeddings"][:1]])
    gates = [np.concatenate([found[kind + gate] for gate in _GATES], -1) for kind in "WUb"]
    model.set_weights([embeddings, *gates, found["output_kernel"], found["output_bias"]])
    model.trainable = False
    return model


def data_of(model: Generator, sizes: list[int], seed: int) -> tuple[list, float, float]:
    """Sets of sequences of an oracle, each by a stream of its own.

    Returns:
      int32 [n, T] for each n; and the entropy of the oracle in nats a token, from the conditional
      entropies along all of them, with its standard error.
    """
    uniforms = [
        np.random.default_rng([seed, stream]).random([n, model.seq_len])
        for stream, n in enumerate(sizes)
    ]
    tokens, entropies = law.draw(model, np.concatenate(uniforms))
    entropies = entropies[:, 0] / model.seq_len
    error = np.std(entropies, ddof=1) / np.sqrt(len(entropies))
    return np.split(tokens, np.cumsum(sizes)[:-1]), float(np.mean(entropies)), float(error)
