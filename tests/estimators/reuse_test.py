"""Reuse of a batch: the clipped surrogate's gradient is that of its definition."""

import itertools

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.estimators import reuse
from regan_tf.estimators.discriminator_rewards import DiscriminatorReward
from regan_tf.estimators.estimate import estimate_gradient
from regan_tf.estimators.penalty import Penalty
from regan_tf.spec import EstimatorSpec
from tests import problems

_CLIP = 0.2
_SPEC = EstimatorSpec("reinforce", clip=_CLIP)


def _sequences(vocab_size, length, end):
    """All of them, int32 [N, T]."""
    found = [
        b
        for b in itertools.product(range(vocab_size), repeat=length)
        if all(after == end or before != end for before, after in itertools.pairwise(b))
    ]
    return np.array(found, np.int32)


def _log_prob(generator, tokens):
    """log p(b_t | b_<t), [N, T], by the generator's steps, with a gradient by a tape."""
    read, state = tf.fill([len(tokens)], generator.vocab_size), generator.initial_state(len(tokens))
    steps = []
    for t in range(tokens.shape[1]):
        logits, state = generator.step(read, state)
        read = tf.constant(tokens[:, t])
        steps.append(tf.gather(tf.nn.log_softmax(logits), read, batch_dims=1))
    return tf.stack(steps, axis=1)


def _count(tokens, end):
    """How many tokens of each row are its sequence, [N]."""
    ended = tokens == -1 if end is None else tokens == end
    return np.where(ended.any(axis=1), ended.argmax(axis=1) + 1, tokens.shape[1])


class SurrogateTest(tf.test.TestCase, parameterized.TestCase):
    def _batch(self, generator, end):
        """All sequences, signals of both signs, and what an earlier generator thought of them."""
        rng = np.random.default_rng(0)
        tokens = _sequences(generator.vocab_size, generator.seq_len, end)
        signal = rng.normal(size=tokens.shape)
        old = _log_prob(generator, tokens).numpy() + 0.3 * rng.normal(size=tokens.shape)
        return reuse.Batch(*map(tf.constant, (tokens, signal[:, 0], signal, old)))

    @parameterized.product(end_token=[None, 2], hides=[False, True])
    def test_gradient_is_that_of_the_definition(self, end_token, hides):
        generator, _ = problems.networks(3, 3, 4, dtype="float64", end_token=end_token)
        batch = self._batch(generator, end_token)
        theta = [v.value for v in generator.trainable_variables]
        tokens = batch.tokens.numpy()
        count = _count(tokens, end_token)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(theta)
            ratio = tf.exp(_log_prob(generator, tokens) - batch.log_prob)
            clipped = tf.clip_by_value(ratio, 1 - _CLIP, 1 + _CLIP)
            each = tf.minimum(ratio * batch.signal, clipped * batch.signal)
            rows = [tf.reduce_sum(each[j, :n]) for j, n in enumerate(count)]
            surrogate = tf.add_n(rows) / len(rows)
        expected = [tf.convert_to_tensor(g) for g in tape.gradient(surrogate, theta)]
        asked = problems.Protocol(generator) if hides else generator
        found, distance = reuse.further_gradient(_SPEC, asked, batch)
        self.assertAllClose(problems.flat(found), problems.flat(expected), rtol=1e-6, atol=1e-9)
        # A token whose ratio does not count is one at which the two terms differ.
        cut = ratio * batch.signal != each
        of_tokens = [tf.concat([x[j, :n] for j, n in enumerate(count)], 0) for x in (cut, ratio)]
        self.assertBetween(float(distance.clipped), 0.1, 0.9)
        self.assertAllClose(distance.clipped, np.mean(of_tokens[0]))
        self.assertAllClose(distance.kl, -np.mean(np.log(of_tokens[1])))

    @parameterized.parameters("reinforce", "reinforce_loo", "reinforce_rollout")
    def test_at_the_generator_that_drew_the_batch_it_is_the_estimate(self, estimator):
        generator, discriminator = problems.networks(7, 4, 3, end_token=3)
        reward = DiscriminatorReward(discriminator)
        estimate, diagnostics = estimate_gradient(
            estimator, generator, reward, batch_size=16, seed=1
        )
        batch = reuse.Batch.of(diagnostics)
        found, distance = reuse.further_gradient(_SPEC, generator, batch)
        self.assertAllClose(problems.flat(found), problems.flat(estimate), rtol=1e-4, atol=1e-6)
        self.assertAllClose(distance.clipped, 0.0)
        self.assertAllClose(distance.kl, 0.0, atol=1e-6)

    @parameterized.parameters(None, 3)
    def test_a_penalty_is_in_it_as_in_the_estimate(self, end_token):
        generator, discriminator = problems.networks(7, 4, 3, end_token=end_token)
        prior, _ = problems.networks(8, 4, 3, end_token=end_token)
        reward, penalty = DiscriminatorReward(discriminator), Penalty(prior, 0.5, 0.3)
        estimate, diagnostics = estimate_gradient(
            "reinforce_loo", generator, reward, batch_size=16, seed=1, penalty=penalty
        )
        batch = reuse.Batch.of(diagnostics)
        found, _ = reuse.further_gradient(_SPEC, generator, batch, penalty)
        without, _ = reuse.further_gradient(_SPEC, generator, batch)
        self.assertAllClose(problems.flat(found), problems.flat(estimate), rtol=1e-4, atol=1e-6)
        self.assertNotAllClose(problems.flat(without), problems.flat(estimate), rtol=0.1, atol=0.1)


class ImitationTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(None, 2)
    def test_gradient_is_that_of_the_weighed_likelihood(self, end_token):
        generator, _ = problems.networks(3, 3, 3, dtype="float64", end_token=end_token)
        tokens = _sequences(3, 3, end_token)[::3]
        rng = np.random.default_rng(0)
        reward, present = rng.normal(size=len(tokens)), rng.integers(0, 2, size=len(tokens))
        theta, count = [v.value for v in generator.trainable_variables], _count(tokens, end_token)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(theta)
            log_prob = _log_prob(generator, tokens)
            better = [j for j in range(len(tokens)) if present[j] and reward[j] > 0.1]
            rows = [(reward[j] - 0.1) * tf.reduce_sum(log_prob[j, : count[j]]) for j in better]
            weighed = tf.add_n(rows) / 7
        expected = [tf.convert_to_tensor(g) for g in tape.gradient(weighed, theta)]
        self.assertBetween(len(better), 2, len(tokens) - 2)
        replayed = reuse.Replayed(*map(tf.constant, (tokens, reward, present.astype(np.float64))))
        found = reuse.replay_gradient(_SPEC, generator, replayed, tf.constant(0.1, tf.float64), 7)
        self.assertAllClose(problems.flat(found), problems.flat(expected), rtol=1e-6, atol=1e-9)


class ReinventTest(tf.test.TestCase, parameterized.TestCase):
    """Its loss has no ratio: a batch and what is replayed are terms of it alike."""

    def _problem(self, end_token):
        generator, _ = problems.networks(3, 3, 3, dtype="float64", end_token=end_token)
        prior, _ = problems.networks(4, 3, 3, dtype="float64", end_token=end_token)
        tokens = _sequences(3, 3, end_token)
        return generator, prior, tokens, np.random.default_rng(0).normal(size=len(tokens))

    def _ascended(self, generator, prior, tokens, reward, present, end_token):
        """By a tape, of the sum over sequences of -(log p_0 + sigma R - log p)^2."""
        theta = [v.value for v in generator.trainable_variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(theta)
            rows = [
                present[j] * tf.reduce_sum(x[:n])
                for j, (x, n) in enumerate(
                    zip(
                        tf.unstack(_log_prob(prior, tokens) - _log_prob(generator, tokens)),
                        _count(tokens, end_token),
                        strict=True,
                    )
                )
            ]
            loss = tf.reduce_sum((tf.stack(rows) + present * 5 * reward) ** 2)
        return -problems.flat([tf.convert_to_tensor(g) for g in tape.gradient(loss, theta)])

    @parameterized.parameters(None, 2)
    def test_gradient_is_that_of_its_loss(self, end_token):
        generator, prior, tokens, reward = self._problem(end_token)
        spec, penalty = EstimatorSpec("reinvent", sigma=5), Penalty(prior)
        nothing = np.zeros(tokens.shape)
        old = _log_prob(generator, tokens).numpy() + 0.5
        batch = reuse.Batch(*map(tf.constant, (tokens, reward, nothing, old)))
        found, distance = reuse.further_gradient(spec, generator, batch, penalty)
        every = np.ones(len(tokens))
        expected = self._ascended(generator, prior, tokens, reward, every, end_token)
        self.assertAllClose(problems.flat(found), expected / len(tokens), rtol=1e-6, atol=1e-9)
        self.assertAllClose(tuple(distance), (0.0, 0.5))
        present = np.random.default_rng(1).integers(0, 2, size=len(tokens)).astype(np.float64)
        replayed = reuse.Replayed(*map(tf.constant, (tokens, reward, present)))
        baseline = tf.constant(0.1, tf.float64)
        found = reuse.replay_gradient(spec, generator, replayed, baseline, 7, penalty)
        expected = self._ascended(generator, prior, tokens, reward, present, end_token)
        self.assertAllClose(problems.flat(found), expected / 7, rtol=1e-6, atol=1e-9)


if __name__ == "__main__":
    tf.test.main()
