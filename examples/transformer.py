"""A small Transformer as generator: it reads a whole sequence at once, and samples with a cache.

  python -m examples.transformer
  python -m examples.transformer --benchmark

The first trains it, by REBAR, for the reward of `examples.own_generator`. The second holds the time
that an update of it takes against one of the library's LSTM.
"""

import sys
import time

import keras
import tensorflow as tf

import regan_tf
from examples.own_generator import make_update

VOCAB_SIZE, SEQ_LEN, LEARNING_RATE, UPDATES = 4, 16, 3e-3, 200


class Block(keras.layers.Layer):
    """Self-attention and two dense layers, each of them normalised before and added (pre-norm)."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.norms = [keras.layers.RMSNormalization() for _ in range(2)]
        self.heads_in = keras.layers.Dense(3 * width, use_bias=False)
        self.heads_out = keras.layers.Dense(width)
        self.up = keras.layers.Dense(2 * width, activation="relu")
        self.down = keras.layers.Dense(width)
        for layer in [*self.norms, self.heads_in, self.heads_out, self.up]:
            layer.build((None, width))
        self.down.build((None, 2 * width))
        self.built = True

    def call(self, x, mask, cache=None, at=None):
        """x [B, S, D] -> [B, S, D], and keys and values, each [B, heads, T, D / heads].

        All positions are read at once; or one, S = 1, whose keys and values come into the cache, to
        the places `at`, int32 [B, heads, 3]. The mask [..., S, T] is added to the scores.
        """
        heads = tf.reshape(
            self.heads_in(self.norms[0](x)), [-1, x.shape[1], 3, self.heads, self.size]
        )
        query, key, value = tf.unstack(tf.transpose(heads, [2, 0, 3, 1, 4]))
        if cache is not None:
            key = tf.tensor_scatter_nd_update(cache[0], at, key[:, :, 0])
            value = tf.tensor_scatter_nd_update(cache[1], at, value[:, :, 0])
        scores = tf.matmul(query * self.size**-0.5, key, transpose_b=True) + mask
        seen = tf.matmul(tf.nn.softmax(scores), value)
        seen = tf.reshape(tf.transpose(seen, [0, 2, 1, 3]), tf.shape(x))
        x += self.heads_out(seen)
        return x + self.down(self.up(self.norms[1](x))), (key, value)


class Transformer(keras.Model, regan_tf.ParallelGenerator):
    """Causal, with learned positions; the begin symbol is token V."""

    def __init__(self, vocab_size=VOCAB_SIZE, seq_len=SEQ_LEN, width=32, heads=2, blocks=2):
        super().__init__()
        self.vocab_size, self.seq_len = vocab_size, seq_len
        self.embedding = keras.layers.Dense(width, use_bias=False)
        self.positions = keras.layers.Embedding(seq_len, width)
        self.blocks = [Block(width, heads) for _ in range(blocks)]
        self.norm, self.head = keras.layers.RMSNormalization(), keras.layers.Dense(vocab_size)
        self.embedding.build((None, vocab_size + 1))
        self.positions.build(None)
        self.norm.build((None, width))
        self.head.build((None, width))
        self.built = True

    def logits_and_features(self, tokens):
        """int32 [B, T] -> logits [B, T, V], and what they are made of [B, T, D]."""
        x = self._embed(tf.pad(tokens[:, :-1], [[0, 0], [1, 0]], constant_values=self.vocab_size))
        x += self.positions.embeddings.value
        causal = _mask(tf.linalg.band_part(tf.fill([self.seq_len] * 2, True), -1, 0))
        for block in self.blocks:
            x, _ = block(x, causal)
        x = self.norm(x)
        return self.head(x), x

    def logits(self, tokens):
        """int32 [B, T] -> logits [B, T, V] of all positions: that at t is of tokens before t."""
        return self.logits_and_features(tokens)[0]

    def initial_state(self, batch_size):
        """The position to come, and keys and values of those before it: tensors [B, ...]."""
        block = self.blocks[0]
        empty = tf.zeros([batch_size, block.heads, self.seq_len, block.size])
        return tf.zeros([batch_size], tf.int32), [(empty, empty) for _ in self.blocks]

    def step(self, inputs, state):
        """(tokens int32 [B] or rows [B, V], state) -> (logits [B, V], state)."""
        position, caches = state[0], list(state[1])
        x = self._embed(inputs) + tf.gather(self.positions.embeddings.value, position)
        x, seen = x[:, tf.newaxis], _mask(tf.range(self.seq_len) <= position[:, tf.newaxis])
        place = tf.meshgrid(
            tf.range(tf.size(position)), tf.range(self.blocks[0].heads), indexing="ij"
        )
        at = tf.stack([*place, tf.broadcast_to(position[:, tf.newaxis], tf.shape(place[0]))], -1)
        for i, block in enumerate(self.blocks):
            x, caches[i] = block(x, seen[:, tf.newaxis, tf.newaxis], cache=caches[i], at=at)
        return self.head(self.norm(x))[:, 0], (position + 1, caches)

    def _embed(self, inputs):
        """Tokens, or rows of probabilities, to vectors."""
        size = self.vocab_size + 1
        if inputs.dtype.is_integer:
            return self.embedding(tf.one_hot(inputs, size))
        return self.embedding(tf.pad(inputs, [[0, 0], [0, 1]]))


def _mask(seen):
    """What is added to the scores: nothing where a position is seen."""
    return tf.where(seen, 0.0, -1e9)


def main():
    """Trains the Transformer; prints the reward on the way, and two sequences at the end."""
    keras.utils.set_random_seed(0)
    generator = Transformer()
    update = make_update(generator, LEARNING_RATE)
    for i in range(UPDATES + 1):
        reward = update(tf.constant([0, i]))
        if i % 50 == 0:
            print(f"update {i:3d}: reward {float(reward):.3f}")
    for tokens in generator.sample(2, seed=1).numpy():
        print("it writes", *tokens)


def benchmark(lengths=(15, 60), rounds=7, calls=5):
    """Prints, and returns by their names, CPU seconds until the first update is done, and the
    fewest CPU milliseconds of later ones.
    """
    figures = {}
    for length in lengths:
        for form in ("sequence", "step"):
            for kind in (regan_tf.Generator, Transformer):
                update = make_update(kind(VOCAB_SIZE, length), LEARNING_RATE, form)
                first, *later = [_cpu_seconds(update, calls if i else 1) for i in range(rounds + 1)]
                name = f"T={length}, {form} form, {kind.__name__}"
                figures[name] = first, 1e3 * min(later) / calls
                print(f"{name:36s} first {first:5.1f} s, then {figures[name][1]:6.1f} ms")
    return figures


def _cpu_seconds(update, calls):
    started = time.process_time()
    for i in range(calls):
        update(tf.constant([1, i])).numpy()
    return time.process_time() - started


if __name__ == "__main__":
    if "--benchmark" in sys.argv[1:]:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        benchmark()
    else:
        main()
