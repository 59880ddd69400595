"""What is served: raw variables and pure functions of rows, for TF Serving to load and run."""

import tensorflow as tf

from regan_tf.graphs import compiled
from regan_tf.serving import counter_rng
from regan_tf.tasks.text import token_regex

DEFAULT = "serving_default"
GENERATE, SCORE, DISCRIMINATE = "generate", "score", "discriminate"
GENERATE_TOKENS, SCORE_TOKENS = "generate_tokens", "score_tokens"

# Rows are padded to a multiple of this. Vector instructions and what they leave over round
# differently; in whole vectors a row's numbers are the same, bit for bit, in a batch of any size:
# on most processors, and not promised. What is: the same tokens, unless a token's random number is
# within rounding of where the next token begins, and log-probabilities to 1e-5.
_ROWS = 16

# No two float32 log-probabilities that are apart differ by so little: colder changes nothing, and
# would overflow.
_COLDEST = 1e-30


class ServedModel(tf.Module):
    """The signatures. Every input and output leads with the batch dimension B, and a row depends on
    nothing but its inputs, but for rounding in its last bits.

        generate       seed int64 [B], temperature float32 [B], prefix string [B]
                       -> tokens int32 [B, T], text string [B], token_log_probs [B, T], log_prob
                       [B], valid [B]
        generate_tokens
                       seed int32 [B, 2], temperature float32 [B], prefix int32 [B, T], -1 after it
                       -> the same but for the text; a seed of 64 bits is its low and high half
        score          text string [B] -> log_prob [B], token_log_probs [B, T], valid [B]
        score_tokens   tokens int32 [B, T] -> the same
        discriminate   tokens int32 [B, T] -> p_real [B], valid [B]

    `generate`, which is `serving_default` too, keeps a prefix and continues it; its
    log-probabilities, in nats, are those of the tokens it drew, under the distribution it drew them
    from (0 for the prefix). Those of `score` are at temperature 1. A row that cannot be answered
    (an unknown symbol or token, a wrong length, a temperature that is not finite and positive) has
    `valid` false, an empty text and zeros, and disturbs no other: TF Serving puts rows of several
    clients into one batch. Where the vocabulary has an end token, texts of up to T tokens are
    scored, their end included, and generated ones stop at it; where it has an unknown token, that
    stands for every symbol it does not know.

    No Keras object is tracked: TF Serving loads such a model but cannot run it ("Could not find
    variable"). The functions reach the networks through a closure.

    Args:
      generator: a Generator.
      discriminator: a Discriminator or another, or None: then `discriminate` is not served.
      vocabulary: a text.Vocabulary.
      vocabulary_file: its symbols, one a line, the first being token 0; it becomes an asset of the
        SavedModel.
    """

    def __init__(self, generator, discriminator, vocabulary, vocabulary_file):
        super().__init__()
        networks = [generator, discriminator] if discriminator else [generator]
        self.weights = [v.value for network in networks for v in network.variables]
        self.vocabulary = _Vocabulary(vocabulary, vocabulary_file, generator.seq_len)
        functions = {
            GENERATE: _generate(generator, self.vocabulary),
            GENERATE_TOKENS: _generate_tokens(generator),
            SCORE: _score(generator, self.vocabulary),
            SCORE_TOKENS: _score_tokens(generator),
        }
        if discriminator:
            functions[DISCRIMINATE] = _discriminate(discriminator, generator.seq_len)
        # Traced here, once: a tf.function would be traced again when it is called after its saving.
        self.functions = {name: f.get_concrete_function() for name, f in functions.items()}
        self.functions[DEFAULT] = self.functions[GENERATE]


class _Vocabulary(tf.Module):
    """Text to tokens and back, with tables that are read from the asset."""

    def __init__(self, vocabulary, file, seq_len):
        super().__init__()
        self.separator = vocabulary.separator
        self.pattern = vocabulary.pattern
        self.end = vocabulary.end
        self.unknown = vocabulary.unknown
        self.seq_len = seq_len
        line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        forward = tf.lookup.TextFileInitializer(file, tf.string, line, tf.int64, number)
        backward = tf.lookup.TextFileInitializer(file, tf.int64, number, tf.string, line)
        self.token_of = tf.lookup.StaticHashTable(forward, default_value=-1)
        self.symbol_of = tf.lookup.StaticHashTable(backward, default_value="")

    def encode(self, text):
        """string [B] -> tokens int32 [B, T], -1 after the text; lengths [B]; whether all its
        symbols are known [B].
        """
        symbols = self._split(text)
        lengths = tf.cast(symbols.row_lengths(), tf.int32)
        tokens = tf.cast(self.token_of.lookup(symbols.values), tf.int32)
        if self.unknown is not None:  # a word that is spelled like the end token is none
            tokens = tf.where((tokens < 0) | (tokens == self.end), self.unknown, tokens)
        tokens = symbols.with_values(tokens)
        tokens = tokens.to_tensor(default_value=-1, shape=[None, self.seq_len])
        known = tf.math.count_nonzero(tokens >= 0, axis=1, dtype=tf.int32) == tf.minimum(
            lengths, self.seq_len
        )
        return tokens, lengths, known

    def _split(self, text):
        """string [B] -> symbols, ragged [B, None], as `text.split` has it. Of a text that is too
        long only its first T + 1 are sure.
        """
        most = self.seq_len + 1
        if self.separator:
            return tf.strings.split(text, maxsplit=most)
        # What is not UTF-8 becomes U+FFFD, which is unknown.
        if not self.pattern:
            return tf.strings.unicode_split(tf.strings.substr(text, 0, 4 * most), "UTF-8")
        text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8")
        # A byte 0, which no text of a run has, ends each symbol.
        text = tf.strings.regex_replace(text, "\0", "\ufffd")
        text = tf.strings.regex_replace(text, token_regex(self.pattern), "\\0\0")
        symbols = tf.strings.split(text, sep="\0", maxsplit=most)
        return tf.ragged.boolean_mask(symbols, symbols != "")

    def decode(self, tokens):
        """int32 [B, T] -> string [B]; tokens below 0, and the end token, are nothing."""
        if self.end is not None:
            tokens = tf.where(tokens == self.end, -1, tokens)
        joined = tf.strings.reduce_join(
            self.symbol_of.lookup(tf.cast(tokens, tf.int64)), axis=1, separator=self.separator
        )
        return tf.strings.strip(joined) if self.separator else joined


def _rows(dtype, *shape, name):
    return tf.TensorSpec([None, *shape], dtype, name=name)


def _generate(generator, vocabulary):
    @compiled(
        input_signature=[
            _rows(tf.int64, name="seed"),
            _rows(tf.float32, name="temperature"),
            _rows(tf.string, name="prefix"),
        ]
    )
    def generate(seed, temperature, prefix):
        given, lengths, known = vocabulary.encode(prefix)
        known &= lengths <= generator.seq_len
        key = tf.bitcast(seed, tf.int32)
        tokens, scores = _completed(generator, key, temperature, given, known)
        return {"tokens": tf.maximum(tokens, 0), "text": vocabulary.decode(tokens)} | scores

    return generate


def _generate_tokens(generator):
    @compiled(
        input_signature=[
            _rows(tf.int32, 2, name="seed"),
            _rows(tf.float32, name="temperature"),
            _rows(tf.int32, generator.seq_len, name="prefix"),
        ]
    )
    def generate_tokens(seed, temperature, prefix):
        known = prefix < generator.vocab_size
        if generator.end_token is not None:
            known &= prefix != generator.end_token
        begins = (prefix[:, 1:] < 0) | (prefix[:, :-1] >= 0)  # nothing is given after a gap
        known = tf.reduce_all(known, axis=1) & tf.reduce_all(begins, axis=1)
        tokens, scores = _completed(generator, seed, temperature, prefix, known)
        return {"tokens": tf.maximum(tokens, 0)} | scores

    return generate_tokens


def _completed(generator, key, temperature, given, known):
    """Sequences int32 [B, T] that continue what is given, [B, T], -1 in rows that are not valid;
    and their scores. Random by the key, int32 [B, 2]; known: of what is given, [B].
    """
    valid = known & tf.math.is_finite(temperature) & (temperature > 0)
    given = tf.where(valid[:, tf.newaxis], given, -1)
    temperature = tf.where(valid, tf.maximum(temperature, _COLDEST), 1.0)
    uniform = counter_rng.uniform_rows(key, generator.seq_len)
    tokens, log_probs = generator.complete(*(_padded(x) for x in (given, uniform, temperature)))
    tokens, log_probs = tokens[: tf.size(valid)], log_probs[: tf.size(valid)]
    return tf.where(valid[:, tf.newaxis], tokens, -1), _scores(log_probs, valid)


def _score(generator, vocabulary):
    @compiled(input_signature=[_rows(tf.string, name="text")])
    def score(text):
        tokens, lengths, known = vocabulary.encode(text)
        if vocabulary.end is None:
            return _log_probs(generator, tokens, known & (lengths == generator.seq_len))
        return _log_probs(
            generator,
            tf.where(tokens < 0, vocabulary.end, tokens),
            known & (lengths <= generator.seq_len),
        )

    return score


def _score_tokens(generator):
    @compiled(input_signature=[_rows(tf.int32, generator.seq_len, name="tokens")])
    def score_tokens(tokens):
        return _log_probs(generator, tokens, _in_range(tokens, generator.vocab_size))

    return score_tokens


def _discriminate(discriminator, seq_len):
    @compiled(input_signature=[_rows(tf.int32, seq_len, name="tokens")])
    def discriminate(tokens):
        valid = _in_range(tokens, discriminator.vocab_size)
        readable = _padded(tf.where(valid[:, tf.newaxis], tokens, 0))
        p_real = discriminator.probability(readable)[: tf.size(valid)]
        return {"p_real": tf.where(valid, p_real, 0.0), "valid": valid}

    return discriminate


def _log_probs(generator, tokens, valid):
    readable = _padded(tf.where(valid[:, tf.newaxis], tokens, 0))
    return _scores(generator.log_prob(readable)[: tf.size(valid)], valid)


def _scores(log_probs, valid):
    log_probs = tf.where(valid[:, tf.newaxis], log_probs, 0.0)
    return {
        "token_log_probs": log_probs,
        "log_prob": tf.reduce_sum(log_probs, axis=1),
        "valid": valid,
    }


def _in_range(tokens, vocab_size):
    return tf.reduce_all((tokens >= 0) & (tokens < vocab_size), axis=1)


def _padded(x):
    """Adds rows of ones, up to a multiple of _ROWS."""
    return tf.pad(
        x,
        [[0, -tf.shape(x)[0] % _ROWS]] + [[0, 0]] * (x.shape.rank - 1),
        constant_values=tf.ones([], x.dtype),
    )
