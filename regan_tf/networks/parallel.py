"""Generators that see all positions of a sequence at once, as a Transformer does."""

import abc
from typing import Any

import numpy as np
import tensorflow as tf

from regan_tf.networks import autoregressive, backprop, samplers
from regan_tf.networks.autoregressive import chosen, stateless, time_major
from regan_tf.networks.generation import Generates
from regan_tf.networks.noise import for_drawing, token_noise
from regan_tf.networks.protocol import FastGenerator, RowGradients, Unrolled, end_token
from regan_tf.networks.writing import write_by_step

# Steps that `check` takes: eager ones, of which each takes milliseconds.
_CHECKED = 16


class ParallelGenerator(Generates, FastGenerator):
    """A SequenceGenerator that inherits from this gives l_1, ..., l_T of given tokens in one pass.

        logits(b)_t = l_t + a constant,  l_t = log p(. | b_<t)

    Estimators sample by `step`, in a loop that holds it once in the graph, and without a gradient;
    the gradient is that of the one pass. Straight-through and the rollout form alone differentiate
    `step`, in the rows that it reads, and hold it T times in the graph.
    """

    vocab_size: int
    seq_len: int
    compute_dtype: str
    trainable_variables: list

    @abc.abstractmethod
    def initial_state(self, batch_size: Any) -> Any:
        """See SequenceGenerator; the keys and values of a Transformer, for instance."""

    @abc.abstractmethod
    def step(self, inputs: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        """See SequenceGenerator. It need not take rows, nor have a gradient, but for
        straight-through and the rollout form.
        """

    @abc.abstractmethod
    def logits(self, tokens: tf.Tensor) -> tf.Tensor:
        """int32 [B, T] -> [B, T, V], what `step` gives when it reads the begin symbol and then
        these tokens: at position t a function of b_<t alone. Differentiable in the weights.
        """

    def logits_and_features(self, tokens: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The logits, and what c_hat reads of b_<t in its step and rollout forms, [B, T, F].

        Here the logits themselves. A generator may give more, such as its last layer's outputs.
        """
        logits = self.logits(tokens)
        return logits, logits

    def sample(self, batch_size: int, seed: Any) -> tf.Tensor:
        """Draws sequences by `step`, int32 [B, T]; no gradient. seed: an int, or two: a stateless
        seed.
        """
        shape = [batch_size, self.seq_len]
        noise = token_noise(shape, self.vocab_size, stateless(seed), self.compute_dtype)
        return self._sampled(for_drawing(noise, self.vocab_size))

    def unroll(self, noise: tf.Tensor) -> Unrolled:
        """Samples from noise by `step`, then reads the sample in one pass; as
        `autoregressive.unroll`.
        """
        return self.teacher_force(self._sampled(noise))

    def teacher_force(self, tokens: tf.Tensor) -> Unrolled:
        """Reads tokens int32 [B, T] in one pass; as `autoregressive.teacher_force`."""

        def read():
            log_probs, features = self._log_probs_and_features(tokens)
            return (Unrolled(tokens, log_probs, tf.transpose(features, [1, 0, 2])),)

        def targets(unrolled):
            return unrolled.log_probs, chosen(unrolled.log_probs, tokens)

        unrolled, pullback = backprop.with_tape(self, read, targets)
        return unrolled._replace(saved=pullback)

    def pullback(
        self, unrolled: Unrolled, cotangent: tf.Tensor, row_gradients: bool = False
    ) -> tuple[list[tf.Tensor], RowGradients | None]:
        """From a cotangent to the gradient in the weights: see `backprop.with_pullback`. For the
        rows' gradients every row is read once more, alone, one after the other: in a loop in the
        graph, which takes any operation as it is. `tf.vectorized_map`, which would be faster for
        small generators, takes tf.pad's constant for 0.
        """

        def of_row(row):
            tokens, cotangent = (x[tf.newaxis] for x in row)
            return backprop.row_figures(self.teacher_force(tokens).saved(cotangent)[0])

        gradient = unrolled.saved(cotangent)[0]
        if not row_gradients:
            return gradient, None
        figures = tf.map_fn(
            of_row, (unrolled.tokens, cotangent), fn_output_signature=cotangent.dtype
        )
        return gradient, backprop.of_figures(figures)

    def step_states(self, unrolled: Unrolled) -> Any:
        """The states from which `step` goes on after each b_<t and l_t: a nest of [T, B, ...]."""
        return autoregressive.read_by_step(self, unrolled.tokens).states

    def check(self) -> None:
        """Raises ValueError where logits or features of random tokens, with the present weights,
        see a token too early, or the first positions' logits are not those of `step`; up to
        sqrt(epsilon) of their dtype, on a GPU in TensorFloat-32 to 1 %.

        Runs eagerly, also where a graph is being traced. Under a strategy of tf.distribute it does
        nothing.
        """
        if tf.distribute.has_strategy():
            return
        with tf.init_scope():
            if tf.executing_eagerly():
                tokens = _trial_tokens(self)
                self._check_shapes(tokens)
                self._check_order(tokens)
                self._check_steps(tokens)

    def _check_shapes(self, tokens):
        logits, features = self.logits_and_features(tokens)
        for what, found, size in (
            ("logits", logits, self.vocab_size),
            ("features", features, None),
        ):
            wanted = (*tokens.shape, size)
            if not found.shape.is_compatible_with(wanted):
                raise ValueError(
                    f"{type(self).__name__}: {what} of tokens {tokens.shape} have shape "
                    f"{found.shape}: it must be {wanted}"
                )

    def _check_order(self, tokens):
        outputs = self._log_probs_and_features(tokens)
        for changed in sorted({0, self.seq_len // 2, self.seq_len - 1}):
            later = tf.range(self.seq_len) >= changed
            others = tf.where(later, (tokens + 1) % self.vocab_size, tokens)
            of_others = self._log_probs_and_features(others)
            for what, one, other in zip(("logits", "features"), outputs, of_others, strict=True):
                t = _first_difference(one[:, : changed + 1], other[:, : changed + 1])
                if t is not None:
                    raise ValueError(
                        f"{type(self).__name__}: {what} at position {t} change with tokens "
                        f"{changed} to {self.seq_len - 1}, counted from 0: they must see the begin "
                        "symbol and the tokens before their position alone (a causal mask)"
                    )

    def _check_steps(self, tokens):
        by_step = autoregressive.read_by_step(self, tokens[:, :_CHECKED]).log_probs
        t = _first_difference(self._log_probs_and_features(tokens)[0][:, :_CHECKED], by_step)
        if t is not None:
            raise ValueError(
                f"{type(self).__name__}: logits and step disagree from position {t} on, counted "
                "from 0, after the same tokens: estimates would be wrong"
            )

    def _log_probs_and_features(self, tokens):
        logits, features = self.logits_and_features(tokens)
        return tf.nn.log_softmax(logits), features

    def _sampled(self, noise):
        """b_t = drawn(l_t, noise_t), int32 [B, T]."""
        batch_size = noise.shape[0] if noise.shape[0] is not None else tf.shape(noise)[0]
        by_time = time_major(noise)

        def draw(t, logits):
            return samplers.drawn(logits, by_time[t])

        return write_by_step(self, batch_size, noise.shape[1], draw)


def _trial_tokens(generator):
    """Random tokens, int32 [2, T], that do not end early."""
    shape, vocab_size, end = [2, generator.seq_len], generator.vocab_size, end_token(generator)
    choices = vocab_size if end is None else max(1, vocab_size - 1)
    tokens = tf.random.stateless_uniform(shape, [0, 0], maxval=choices, dtype=tf.int32)
    return tokens if end is None else (tokens + end + 1) % vocab_size


def _first_difference(one, other):
    """The first position t at which two tensors [B, T, ...] differ by more than rounding; None if
    there is none.
    """
    relative = np.sqrt(np.finfo(one.dtype.as_numpy_dtype).eps)
    has_tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    if has_tf32 and tf.config.list_physical_devices("GPU"):
        relative = max(relative, 0.01)
    tolerance = relative * (1 + tf.abs(other))
    # Equal infinities have no difference, and weights that are NaN are another's concern.
    agree = (one == other) | (tf.abs(one - other) <= tolerance) | tf.math.is_nan(one + other)
    differ = tf.reduce_any(~agree, axis=[0, 2])
    return int(tf.argmax(differ)) if tf.reduce_any(differ) else None
