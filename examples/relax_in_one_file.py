"""ReGAN in one file: REINFORCE, REBAR and RELAX for an LSTM that writes the paper's grammar.

  python -m examples.relax_in_one_file --estimator=relax --form=step

For reading beside the paper (its numbers are in brackets): automatic differentiation throughout,
and nothing of the library. Tests hold its gradient equal to the library's, which is faster, and
tells bias, variance and more. The sequence form is the paper's, biased for a generator that reads
its own samples; the step form, one control variate for each token, is not.

Tensors: tokens b [B, T]; rows, one-hot or relaxed, [B, T, V]; log-probabilities l [B, T, V].
"""

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

SYMBOLS, LENGTH, BATCH, D_STEPS = "x+-*/", 3, 128, 10
V = len(SYMBOLS)

_ESTIMATOR = flags.DEFINE_enum("estimator", "relax", ("reinforce", "rebar", "relax"), "[3.1-3.3]")
_FORM = flags.DEFINE_enum("form", "step", ("sequence", "step"), "Of the control variate.")
_ITERATIONS = flags.DEFINE_integer("iterations", 200, "Adversarial iterations.", lower_bound=1)


def grammar(size, rng):
    """Sequences 'x', then alternately an operator and 'x' [4.1]: int32 [size, T]."""
    tokens = np.zeros([size, LENGTH], np.int32)
    tokens[:, 1::2] = rng.integers(1, V, [size, LENGTH // 2])
    return tokens


def uniform_noise():
    """v in (0, 1), never 0."""
    return tf.random.uniform([BATCH, LENGTH, V], 1e-30)


def gumbel_noise():
    """g = -log(-log v)."""
    return -tf.math.log(-tf.math.log(uniform_noise()))


class Generator(keras.Model):
    """An LSTM from b_<t to l_t; the token V begins every sequence."""

    vocab_size, seq_len = V, LENGTH

    def __init__(self, units=32):
        super().__init__()
        self.embedding = keras.layers.Embedding(V + 1, units)
        self.cell, self.logits = keras.layers.LSTMCell(units), keras.layers.Dense(V)
        self.step(tf.zeros([1], tf.int32), self.initial_state(1))
        self.built = True

    def initial_state(self, batch_size):
        """The state: h and c, [B, units] each."""
        return [tf.zeros([batch_size, self.cell.units])] * 2

    def step(self, tokens, state):
        """(b_t-1 [B], state) -> (logits of b_t [B, V], state)."""
        hidden, state = self.cell(self.embedding(tokens), state)
        return self.logits(hidden), state

    def draw(self, gumbel):
        """b_t = argmax(l_t + g_t), which is a draw from p(b_t | b_<t), by Gumbel noise [B, T, V].

        Returns b [B, T], l [B, T, V] and the states from which l was made [B, T, F].
        """
        batch = gumbel.shape[0]
        token, state, steps = tf.fill([batch], V), self.initial_state(batch), []
        for t in range(LENGTH):
            logits, state = self.step(token, state)
            log_probs = tf.nn.log_softmax(logits)
            token = tf.argmax(log_probs + gumbel[:, t], axis=-1, output_type=tf.int32)
            steps.append((token, log_probs, tf.concat(state, axis=-1)))
        return [tf.stack(x, axis=1) for x in zip(*steps, strict=True)]


class Discriminator(keras.Model):
    """D(rows) = p(real), [B]: an LSTM that reads one-hot or relaxed rows."""

    def __init__(self, units=32):
        super().__init__()
        self.embedding = keras.layers.Dense(units, use_bias=False)
        self.lstm = keras.layers.LSTM(units, unroll=True, use_cudnn=False)
        self.head = keras.layers.Dense(1)
        self(tf.zeros([1, LENGTH, V]))

    def call(self, rows):
        return tf.sigmoid(self.head(self.lstm(self.embedding(rows))))[:, 0]


class ControlNetwork(keras.Model):
    """c_hat_phi [10], zero at the start: RELAX begins as REBAR."""

    def __init__(self, inputs, units=32):
        super().__init__()
        self.hidden = keras.layers.Dense(units, activation="tanh")
        self.head = keras.layers.Dense(1, kernel_initializer="zeros")
        self.hidden.build((None, inputs))
        self.head.build((None, units))
        self.built = True

    def call(self, *inputs):
        """(z) -> [B] for the sequence form, (features of b_<t, z) -> [B, T] for the step form."""
        x = tf.concat(inputs, axis=-1)
        if len(inputs) == 1:
            x = tf.reshape(x, [-1, LENGTH * V])
        return self.head(self.hidden(x))[..., 0]


def conditional(log_probs, tokens, uniform):
    """z~ ~ p(z | b): Gumbel noise of uniform noise v, given that the argmax is b [3.2, A.2]."""
    chosen, exponential = tf.one_hot(tokens, V), -tf.math.log(uniform)
    of_chosen = tf.reduce_sum(chosen * exponential, axis=-1, keepdims=True)
    others = exponential / tf.exp(log_probs) + of_chosen
    return -tf.math.log(tf.where(chosen == 1, of_chosen, others))


def prefix_rewards(reward, tokens, rows):
    """R of (b_<t, rows_t, and after that no token rather than another), for every t: [B, T]."""
    hard, blank = tf.one_hot(tokens, V), tf.ones_like(rows) / V
    parts = [[hard[:, :t], rows[:, t : t + 1], blank[:, t + 1 :]] for t in range(LENGTH)]
    return tf.stack([reward(tf.concat(part, axis=1)) for part in parts], axis=1)


def estimate(estimator, form, generator, reward, network, gumbel, uniform, temperature=1.0):
    """One draw of the gradient of E[R], to be ascended, and that of its square in c_hat's weights.

        g_hat = 1/B sum_j sum_t [ (R - c(z~)) grad log p(b_t | b_<t) + grad c(z) - grad c(z~) ]

    [5] is REINFORCE, c = 0; [8] and [17] are REBAR, c = R(s(z)), s the softmax at the temperature;
    [11] and [18] are RELAX, c = R(s(z)) + c_hat(z). Only z and z~ carry c's gradient to theta.
    """
    theta = [v.value for v in generator.trainable_variables]
    phi = [v.value for v in network.trainable_variables] if estimator == "relax" else []

    def c(z, tokens, states):
        relaxed = tf.nn.softmax(z / temperature)
        if form == "sequence":
            value = reward(relaxed)
            return (value + network(z) if phi else value)[:, tf.newaxis]
        value = prefix_rewards(reward, tokens, relaxed)
        return value + network(states, z) if phi else value

    with tf.GradientTape() as variance_tape:
        with tf.GradientTape() as tape:
            tokens, log_probs, states = generator.draw(gumbel)
            log_p = tf.reduce_sum(tf.one_hot(tokens, V) * log_probs, axis=-1)
            z, z_tilde = log_probs + gumbel, conditional(log_probs, tokens, uniform)
        r = reward(tf.one_hot(tokens, V))[:, tf.newaxis]
        if estimator == "reinforce":
            targets, weights = [log_p], [tf.broadcast_to(r, log_p.shape)]
        else:
            with tf.GradientTape(persistent=True) as slopes:
                slopes.watch([z, z_tilde])
                c_z, c_tilde = (c(x, tokens, tf.stop_gradient(states)) for x in (z, z_tilde))
            signal = tf.broadcast_to(r - c_tilde, log_p.shape)
            targets = [log_p, z, z_tilde]
            weights = [signal, slopes.gradient(c_z, z), -slopes.gradient(c_tilde, z_tilde)]
        total = map(tf.convert_to_tensor, tape.gradient(targets, theta, weights))
        gradient = [g / gumbel.shape[0] for g in total]
        square = tf.add_n([tf.reduce_sum(g**2) for g in gradient])
    return gradient, variance_tape.gradient(square, phi) if phi else []  # [19]


def main(_):
    """Algorithm 1, without pre-training; prints the share of samples that are of the grammar."""
    keras.utils.set_random_seed(0)
    generator, discriminator = Generator(), Discriminator()
    network = ControlNetwork(LENGTH * V if _FORM.value == "sequence" else 64 + V)
    theta, phi, psi = (n.trainable_variables for n in (generator, network, discriminator))
    adam_theta, adam_phi, adam_d = (keras.optimizers.Adam(rate) for rate in (1e-2, 1e-3, 1e-2))
    data = tf.data.Dataset.from_tensor_slices(grammar(10_000, np.random.default_rng(0)))
    batches = iter(data.shuffle(10_000, seed=0).repeat().batch(D_STEPS * BATCH))

    @tf.function(autograph=False)
    def iterate(real):
        arguments = (_ESTIMATOR.value, _FORM.value, generator, discriminator, network)
        gradient, of_phi = estimate(*arguments, gumbel_noise(), uniform_noise())
        adam_theta.apply([-g for g in gradient], theta)
        if of_phi:
            adam_phi.apply(of_phi, phi)
        for part in tf.split(real, D_STEPS):
            fake, _, _ = generator.draw(gumbel_noise())
            with tf.GradientTape() as tape:
                d_real, d_fake = (discriminator(tf.one_hot(b, V)) for b in (part, fake))
                loss = -tf.reduce_mean(tf.math.log(d_real) + tf.math.log(1 - d_fake))
            adam_d.apply(tape.gradient(loss, [v.value for v in psi]), psi)
        alternates = (fake == 0) == (tf.range(LENGTH) % 2 == 0)
        return tf.reduce_mean(tf.cast(tf.reduce_all(alternates, axis=1), tf.float32))

    for i in range(1, _ITERATIONS.value + 1):
        valid = iterate(next(batches))
        if i % 20 == 0:
            print(f"iteration {i}: {float(valid):.3f} of the samples are of the grammar")


if __name__ == "__main__":
    app.run(main)
