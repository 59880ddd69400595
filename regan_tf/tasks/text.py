"""Text as sequences of tokens: files read and checked, the vocabulary, and a corpus that comes with
Python. No TensorFlow here.
"""

import collections
import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regan_tf.config import UserError

_END, _UNKNOWN = 0, 1
_SPECIAL = ("<end>", "<unk>")
SEPARATORS = {"char": "", "word": " "}  # between tokens, by --tokens


@dataclass(frozen=True)
class Vocabulary:
    """What the tokens 0..V-1 stand for.

    A text shorter than T ends with the end token, repeated up to T; a text of T tokens has none.
    What is not in the vocabulary becomes the unknown token, where there is one.

    Args:
      symbols: V strings.
      separator: "" if each character is a token, " " if words are: what stands between ASCII white
        space.
      end, unknown: tokens, or None: then all texts have T tokens, and all their symbols are known.
      pattern: a regular expression whose matches are tokens, too, or "": see `token_regex`. The
        separator is then "".
    """

    symbols: tuple
    separator: str = ""
    end: int | None = None
    unknown: int | None = None
    pattern: str = ""

    @classmethod
    def of(cls, lines, separator, size, pattern=""):
        """The vocabulary of texts: end, unknown, then the most frequent tokens, at most `size` in
        all; ties by code point.

        Tokens that occur once are unknown: so that the unknown token, which stands for all that is
        new in other texts, is learned.
        """
        counts = collections.Counter(s for line in lines for s in split(line, separator, pattern))
        for special in _SPECIAL:
            counts.pop(special, None)
        ordered = sorted(
            (s for s in counts if counts[s] > 1), key=lambda symbol: (-counts[symbol], symbol)
        )
        symbols = (*_SPECIAL, *ordered[: size - len(_SPECIAL)])
        return cls(symbols, separator, _END, _UNKNOWN, pattern)

    def to_json(self):
        """A JSON object of its arguments."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text):
        """The vocabulary that `to_json` wrote. Raises ValueError or TypeError if it is none."""
        found = json.loads(text)
        return cls(**found | {"symbols": tuple(found["symbols"])})

    def __len__(self):
        return len(self.symbols)

    @property
    def known(self):
        """A dict from symbol to token, without the end, which no text contains."""
        return {symbol: i for i, symbol in enumerate(self.symbols) if i != self.end}

    def split(self, line):
        """A text's symbols, known or not."""
        return split(line, self.separator, self.pattern)

    def encode(self, lines, seq_len):
        """N strings -> int32 [N, T]. Raises ValueError if one has more than T tokens, or an unknown
        one that must not be.
        """
        known = self.known
        tokens = np.full([len(lines), seq_len], -1 if self.end is None else self.end, np.int32)
        for row, line in zip(tokens, lines, strict=True):
            found = [known.get(symbol, self.unknown) for symbol in self.split(line)]
            if None in found or len(found) > seq_len or (self.end is None and len(found) < seq_len):
                raise ValueError(
                    f"{line[:80]!r} is not a text of {seq_len} tokens of this vocabulary"
                )
            row[: len(found)] = found
        return tokens

    def to_text(self, tokens):
        """int [N, T] -> N strings, each up to its end."""
        return [
            self.separator.join(self.symbols[i] for i in row[:n])
            for row, n in zip(tokens, self.lengths(tokens), strict=True)
        ]

    def lengths(self, tokens):
        """How many tokens stand before the end: int [N, T] -> [N]."""
        ended = (
            np.zeros_like(tokens, bool)
            if self.end is None
            else np.logical_or.accumulate(tokens == self.end, axis=1)
        )
        return np.sum(~ended, axis=1)


def split(line, separator, pattern=""):
    """A text's symbols: its characters, or the matches of a pattern and the characters that none
    covers, or what stands between ASCII white space; as a served model's ops have it.
    """
    if separator:
        return re.findall(r"\S+", line, re.ASCII)
    if pattern:
        return [found[0] for found in re.finditer(token_regex(pattern), line, re.ASCII)]
    return list(line)


def token_regex(pattern):
    """The regular expression of one token, in the syntax that Python's `re` and RE2 share: a match
    of the pattern, or else a character.
    """
    return f"(?:{pattern})|(?s:.)"


def read(path, flag):
    """The lines of a UTF-8 file that are not blank, without white space around them.

    Line ends may be those of Windows or of old Macs; a byte order mark is dropped. Returns the
    lines, and the file's SHA-256. Raises UserError, naming the flag, if it cannot be read, is
    empty, or is no text.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"--{flag}={path} cannot be read: {error.strerror}") from None
    if b"\0" in content:
        raise UserError(f"--{flag}={path} is not a text file: byte {content.index(0)} is 0")
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"--{flag}={path} is not UTF-8: byte {error.start}, in line {line}, is "
            f"{content[error.start]:#x}"
        ) from None
    lines = [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    lines = [line for line in lines if line]
    if not lines:
        raise UserError(f"--{flag}={path} is empty: it must have one sequence a line")
    return lines, hashlib.sha256(content).hexdigest()


def python_help():
    """Sentences of Python's help topics (`pydoc_data.topics`), in lower case, punctuation apart: a
    corpus on every machine.
    """
    from pydoc_data.topics import topics  # half a megabyte, for this alone

    found = {}  # a dict keeps the order, and each sentence once
    for _, topic in sorted(topics.items()):
        for paragraph in re.split(r"\n\s*\n", topic):
            if re.search(
                r"^\s{6}|::=|\*\*\*|===|---|>>>|\|", paragraph, re.MULTILINE
            ):  # examples, grammars, headings, tables
                continue
            plain = re.sub(r"[\"*]", "", " ".join(paragraph.split()))
            for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", plain):
                words = re.findall(r"[a-z_]+(?:[-'][a-z]+)*(?:\(\))?|[.,;:!?()]", sentence.lower())
                if (
                    re.fullmatch(r"[A-Z][^\[\]<>={}@#$%^&~/\\0-9+]*[.!?]", sentence)
                    and len(words) > 3
                ):
                    found[" ".join(words)] = None
    return list(found)
