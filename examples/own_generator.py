"""A generator and a reward of one's own: a GRU that learns to write sequences with many adjacent
repeats.

  python -m examples.own_generator

The generator keeps the protocol of regan_tf.networks.protocol and knows nothing else of
regan_tf. The reward is a plain function of rows [B, T, V]; being differentiable, it serves REBAR.
"""

import keras
import tensorflow as tf

import regan_tf

VOCAB_SIZE, SEQ_LEN, BATCH_SIZE, UPDATES = 4, 8, 64, 200


class GRUGenerator(keras.Model):
    """Reads tokens (`vocab_size` begins a sequence) or rows of probabilities; writes logits."""

    def __init__(self, vocab_size=VOCAB_SIZE, seq_len=SEQ_LEN, units=16):
        super().__init__()
        self.vocab_size, self.seq_len = vocab_size, seq_len
        self.cell, self.logits = keras.layers.GRUCell(units), keras.layers.Dense(vocab_size)
        self.cell.build((None, vocab_size + 1))
        self.logits.build((None, units))
        self.built = True

    def initial_state(self, batch_size):
        """A nest of tensors [B, ...]."""
        return tf.zeros([batch_size, self.cell.units])

    def step(self, inputs, state):
        """(tokens int32 [B] or rows [B, V], state) -> (logits [B, V], state)."""
        rows = (
            tf.one_hot(inputs, self.vocab_size + 1)
            if inputs.dtype.is_integer
            else tf.pad(inputs, [[0, 0], [0, 1]])
        )
        hidden, (state,) = self.cell(rows, [state])
        return self.logits(hidden), state


def repeats(rows):
    """The share of steps that repeat the one before: [B, T, V] -> [B], in [0, 1]."""
    return tf.reduce_mean(tf.reduce_sum(rows[:, 1:] * rows[:, :-1], axis=-1), axis=1)


def make_update(generator, learning_rate, form="step"):
    """A compiled step of Adam along REBAR's estimate: from a seed to the mean reward."""
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build(generator.trainable_variables)

    # There is no Python `if` or `for` over tensors in it: it is traced in half the time.
    @tf.function(autograph=False)
    def update(seed):
        gradient, diagnostics = regan_tf.estimate_gradient(
            "rebar",
            generator,
            repeats,
            batch_size=BATCH_SIZE,
            seed=seed,
            temperature=0.5,
            control_variate=form,
            leave_one_out=True,
        )
        optimizer.apply([-g for g in gradient], generator.trainable_variables)
        return tf.reduce_mean(diagnostics.reward)

    return update


def main():
    """Trains the generator by ascending the estimated gradient; prints the reward on the way."""
    keras.utils.set_random_seed(0)
    update = make_update(GRUGenerator(), learning_rate=1e-2)
    for i in range(UPDATES + 1):
        reward = update(tf.constant([0, i]))
        if i % 50 == 0:
            print(f"update {i:3d}: reward {float(reward):.3f}")


if __name__ == "__main__":
    main()
