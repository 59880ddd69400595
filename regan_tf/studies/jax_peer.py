"""What one would write instead: the same updates in plain JAX (scan, jit, Optax), to time ours by.

Its gradients are ours, to rounding, from the same weights and noise. Parameters are dicts by the
names of `generator` and `discriminator`; shapes as in `networks`.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

_LEARNING_RATE = 1e-2
UPDATES = ("mle step", "reinforce update", "rebar update")  # of `Peer.update`


def _advance(cell, projected, state):
    hidden, before = state
    i, f, o, g = jnp.split(projected + hidden @ cell["recurrent_kernel"], 4, axis=-1)
    c = jax.nn.sigmoid(f) * before + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _start(cell, batch_size):
    zeros = jnp.zeros([batch_size, cell["recurrent_kernel"].shape[0]])
    return zeros, zeros


def log_probs_of(generator: dict, tokens: jax.Array) -> jax.Array:
    """log p(b_t | b_<t) of tokens int [B, T]: [B, T]."""
    vocab_size = generator["output_kernel"].shape[1]
    begin = jnp.full([len(tokens), 1], vocab_size)
    read = jnp.concatenate([begin, tokens[:, :-1]], axis=1).T
    projected = generator["embeddings"][read] @ generator["kernel"] + generator["bias"]

    def step(state, projected_t):
        state = _advance(generator, projected_t, state)
        return state, state[0]

    _, hidden = jax.lax.scan(step, _start(generator, len(tokens)), projected)
    logits = hidden @ generator["output_kernel"] + generator["output_bias"]
    return _picked(jax.nn.log_softmax(logits), tokens.T).T


def _picked(values, tokens):
    return jnp.take_along_axis(values, tokens[..., None], axis=-1)[..., 0]


def sample(generator: dict, gumbel: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Tokens int [B, T] and their distributions' log-probabilities [B, T, V], by Gumbel noise
    [B, T, V].
    """
    batch_size, _, vocab_size = gumbel.shape

    def step(carry, gumbel_t):
        state, previous = carry
        projected = generator["embeddings"][previous] @ generator["kernel"] + generator["bias"]
        state = _advance(generator, projected, state)
        logits = state[0] @ generator["output_kernel"] + generator["output_bias"]
        token = jnp.argmax(logits + gumbel_t, axis=-1)
        return (state, token), (token, jax.nn.log_softmax(logits))

    start = _start(generator, batch_size), jnp.full([batch_size], vocab_size)
    _, (tokens, log_probs) = jax.lax.scan(step, start, gumbel.swapaxes(0, 1))
    return tokens.T, log_probs.swapaxes(0, 1)


def logit(discriminator: dict, rows: jax.Array) -> jax.Array:
    """Of relaxed rows [B, T, V], or tokens int [B, T]: [B]."""
    kernel, bias = discriminator["kernel"], discriminator["bias"]
    is_token = jnp.issubdtype(rows.dtype, jnp.integer)
    projected = (kernel[rows] if is_token else rows @ kernel) + bias

    def step(state, projected_t):
        return _advance(discriminator, projected_t, state), None

    start = _start(discriminator, len(rows))
    (hidden, _), _ = jax.lax.scan(step, start, projected.swapaxes(0, 1))
    return (hidden @ discriminator["head_kernel"] + discriminator["head_bias"])[:, 0]


def likelihood_loss(generator: dict, tokens: jax.Array) -> jax.Array:
    """The mean of - log p(b), in nats a sequence."""
    return -log_probs_of(generator, tokens).sum(axis=1).mean()


def reinforce_loss(generator: dict, discriminator: dict, gumbel: jax.Array) -> jax.Array:
    """Its gradient is that of REINFORCE, negated: equation (7), R = D(b)."""
    tokens, log_probs = sample(generator, gumbel)
    reward = jax.nn.sigmoid(logit(discriminator, tokens))
    log_p = _picked(log_probs, tokens).sum(axis=1)
    return -(jax.lax.stop_gradient(reward) * log_p).mean()


def rebar_loss(
    generator: dict, discriminator: dict, gumbel: jax.Array, uniform: jax.Array
) -> jax.Array:
    """Its gradient is that of the paper's REBAR, negated: equations (8) and (9), eta = lambda = 1.

    uniform: v of z~, [B, T, V].
    """
    tokens, log_probs = sample(generator, gumbel)
    reward = jax.nn.sigmoid(logit(discriminator, tokens))
    z, z_tilde = log_probs + gumbel, _conditional(log_probs, tokens, uniform)
    c, c_tilde = (jax.nn.sigmoid(logit(discriminator, jax.nn.softmax(x))) for x in (z, z_tilde))
    log_p = _picked(log_probs, tokens).sum(axis=1)
    return -(jax.lax.stop_gradient(reward - c_tilde) * log_p + c - c_tilde).mean()


def _conditional(log_probs, tokens, uniform):
    """z given its argmax: Tucker et al. 2017, appendix C."""
    log_exponential = jnp.log(-jnp.log(uniform))
    chosen = jax.nn.one_hot(tokens, uniform.shape[-1], dtype=bool)
    of_chosen = jnp.take_along_axis(log_exponential, tokens[..., None], axis=-1)
    others = -jnp.logaddexp(log_exponential - log_probs, of_chosen)
    return jnp.where(chosen, -of_chosen, others)


def discriminator_loss(discriminator: dict, real: jax.Array, fake: jax.Array) -> jax.Array:
    """Binary cross-entropy of data and samples, int [B, T] each, as one batch (equation 2)."""
    logits = logit(discriminator, jnp.concatenate([real, fake]))
    labels = jnp.repeat(jnp.array([1.0, 0.0]), len(real), total_repeat_length=2 * len(real))
    return optax.sigmoid_binary_cross_entropy(logits, labels).mean()


class Peer:
    """The timed steps, each a compiled function that updates the weights it holds.

    Args:
      generator, discriminator: weights, dicts of arrays.
      tokens: int [B, T], of the data.
      seed: of the noise.

    Attributes:
      generator, discriminator: the present weights.
    """

    def __init__(self, generator: dict, discriminator: dict, tokens: Any, seed: int = 0):
        self._tokens, self._key = jnp.asarray(tokens), jax.random.key(seed)
        self._optimizer = optax.adam(_LEARNING_RATE)
        self.generator = jax.tree.map(jnp.asarray, generator)
        self.discriminator = jax.tree.map(jnp.asarray, discriminator)
        self._of_generator = self._optimizer.init(self.generator)
        self._of_discriminator = self._optimizer.init(self.discriminator)
        self._noise_shape = (*self._tokens.shape, self.generator["output_kernel"].shape[1])
        self._epoch = jax.jit(self._epoch_step, static_argnames="steps")
        self._step = jax.jit(self._discriminator_step)
        steps = (
            self._likelihood_step,
            functools.partial(self._update, reinforce_loss, 1),
            functools.partial(self._update, rebar_loss, 2),
        )
        self._updates = dict(zip(UPDATES, map(jax.jit, steps), strict=True))

    def update(self, name: str) -> None:
        """One of UPDATES."""
        self._key, key = jax.random.split(self._key)
        self.generator, self._of_generator, loss = self._updates[name](
            self.generator, self._of_generator, self.discriminator, key
        )
        loss.block_until_ready()

    def discriminate(self) -> None:
        """One step of the discriminator, with the data as its negatives."""
        self.discriminator, self._of_discriminator, loss = self._step(
            self.discriminator, self._of_discriminator, self._tokens, self._tokens
        )
        loss.block_until_ready()

    def epoch(self, steps: int) -> None:
        """So many steps of the discriminator, each with negatives of its own."""
        self._key, key = jax.random.split(self._key)
        self.discriminator, self._of_discriminator, loss = self._epoch(
            self.discriminator, self._of_discriminator, self.generator, key, steps=steps
        )
        loss.block_until_ready()

    def _likelihood_step(self, generator, state, discriminator, key):
        del discriminator, key
        loss, gradient = jax.value_and_grad(likelihood_loss)(generator, self._tokens)
        return *self._applied(gradient, state, generator), loss

    def _update(self, loss_of, noises, generator, state, discriminator, key):
        keys = jax.random.split(key)
        noise = [jax.random.gumbel(keys[0], self._noise_shape)]
        if noises > 1:
            tiny = jnp.finfo(jnp.float32).tiny
            noise.append(jax.random.uniform(keys[1], self._noise_shape, minval=tiny))
        loss, gradient = jax.value_and_grad(loss_of)(generator, discriminator, *noise)
        return *self._applied(gradient, state, generator), loss

    def _discriminator_step(self, discriminator, state, real, fake):
        loss, gradient = jax.value_and_grad(discriminator_loss)(discriminator, real, fake)
        return *self._applied(gradient, state, discriminator), loss

    def _epoch_step(self, discriminator, state, generator, key, steps):
        def step(carry, key):
            fake, _ = sample(generator, jax.random.gumbel(key, self._noise_shape))
            *carry, loss = self._discriminator_step(*carry, self._tokens, fake)
            return tuple(carry), loss

        (discriminator, state), losses = jax.lax.scan(
            step, (discriminator, state), jax.random.split(key, steps)
        )
        return discriminator, state, losses.mean()

    def _applied(self, gradient, state, parameters):
        updates, state = self._optimizer.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state


def generator_weights(generator: Any) -> dict:
    """Of a Generator."""
    names = ("embeddings", "kernel", "recurrent_kernel", "bias", "output_kernel", "output_bias")
    return dict(zip(names, generator.get_weights(), strict=True))


def discriminator_weights(discriminator: Any) -> dict:
    """Of a Discriminator."""
    names = ("kernel", "recurrent_kernel", "bias", "head_kernel", "head_bias")
    return dict(zip(names, discriminator.get_weights(), strict=True))
