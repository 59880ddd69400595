"""The compiled steps: they learn, and are traced once; and the configuration that is refused."""

from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.config import Config, UserError
from regan_tf.estimators import reuse, rewards
from regan_tf.networks.convolutional import ConvolutionalDiscriminator
from regan_tf.networks.noise import kept
from regan_tf.spec import ESTIMATORS
from regan_tf.tasks import data
from regan_tf.training.run import run
from tests.training import small


def _start(variables):
    """Weights from 1 to 2, of the variables' shapes."""
    return [np.reshape(np.linspace(1, 2, v.shape.num_elements()), v.shape) for v in variables]


class TrainingTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(*ESTIMATORS)
    @pytest.mark.slow
    def test_one_trace_per_step_function(self, estimator):
        options = {"pretrain_epochs": 0, "iterations": 3, "g_steps": 2, "d_steps": 4}
        options |= {"critic_replay": 5} if ESTIMATORS[estimator].critic else {}
        options |= {"control_variate": "step"} if estimator == "doubly_robust_relax" else {}
        experiment = small.experiment(estimator=estimator, **options)
        small.finish(experiment)
        trainer = experiment.trainer
        for step in (trainer.update_generator, trainer.train_opponent):
            self.assertEqual(step.experimental_get_tracing_count(), 1, step)

    def test_a_batch_serves_several_updates_in_one_trace(self):
        """The first is that of a batch that serves one; the others are the surrogate's."""
        seed, options = tf.constant([3, 4]), {"estimator": "reinforce_loo", "pretrain_epochs": 0}
        options["generator_learning_rate"] = 0.1
        found = {}
        for updates in (1, 3):
            trainer = small.experiment(updates_per_batch=updates, **options).trainer
            real = tf.zeros([64, 3], tf.int32)
            if updates == 1:
                _, diagnostics = trainer.estimate(seed, real)
            scalars = trainer.update_generator(seed, real)
            found[updates] = trainer, {name: float(x) for name, x in scalars.items()}
        (trainer, once), (thrice, scalars) = found[1], found[3]
        self.assertAllClose(once, {name: scalars[name] for name in once}, rtol=1e-5)
        kept = reuse.Batch.of(diagnostics)
        for _ in range(2):
            distance = trainer._update_again(kept, scalars["reward"], None)
        self.assertGreater(scalars["clipped"], 0)
        self.assertAllClose((scalars["clipped"], scalars["ratio_kl"]), tuple(distance), atol=1e-6)
        variables = [t.generator.trainable_variables for t in (trainer, thrice)]
        for one, other in zip(*variables, strict=True):
            self.assertAllClose(one, other, atol=1e-5)
        thrice.update_generator(seed + 1, real)
        self.assertEqual(thrice.update_generator.experimental_get_tracing_count(), 1)

    def test_updates_with_a_batch_have_penalty_and_replay_in_each(self):
        options = {"estimator": "reinforce_loo", "pretrain_epochs": 0, "updates_per_batch": 2}
        options |= {"prior_kl": 0.5, "entropy": 0.3, "generator_learning_rate": 0.1}
        whole, byhand = (small.experiment(**options).trainer for _ in range(2))
        seed, real = tf.constant([3, 4]), tf.zeros([64, 3], tf.int32)
        tokens = tf.constant([[0, 1, 0], [1, 2, 3], [4, 4, 4], [2, 0, 1]])
        replayed = reuse.Replayed(tokens, tf.constant([3.0, 0.6, 9.0, 0.7]), tf.ones(4))
        whole.update_generator(seed, real, replayed)
        spec, generator, penalty = byhand.spec, byhand.generator, byhand.penalty
        gradient, found = byhand.estimate(seed, real)
        baseline, batch = tf.reduce_mean(found.reward), reuse.Batch.of(found)
        for update in range(2):
            if update:
                gradient, _ = reuse.further_gradient(spec, generator, batch, penalty)
            more = reuse.replay_gradient(spec, generator, replayed, baseline, 64, penalty)
            ascent = [-a - b for a, b in zip(gradient, more, strict=True)]
            byhand.generator_optimizer.apply(ascent, generator.trainable_variables)
        variables = [t.generator.trainable_variables for t in (whole, byhand)]
        for one, other in zip(*variables, strict=True):
            self.assertAllClose(one, other, atol=1e-4)

    def test_pretraining_is_traced_once_and_ends_within_an_epoch(self):
        experiment = small.experiment(pretrain_epochs=1.3, iterations=0)
        small.finish(experiment)
        self.assertEqual(experiment.progress.pretrained, 13)
        self.assertEqual(experiment.trainer.pretrain.experimental_get_tracing_count(), 1)

    def test_the_rate_of_pretraining_falls_by_half_a_cosine_and_goes_on_after_a_stop(self):
        options = {"pretrain_decay": True, "pretrain_learning_rate": 1e-3, "pretrain_epochs": 0.8}
        experiment = small.experiment(iterations=0, **options)
        optimizer, rates = experiment.trainer.pretrain_optimizer, []
        for _ in range(9):
            rates.append(float(optimizer.learning_rate))
            optimizer.iterations.assign_add(1)
        self.assertAllClose(rates, 5e-4 * (1 + np.cos(np.pi * np.arange(9) / 8)), atol=1e-9)
        self.assertIn(
            id(optimizer.iterations), [id(v) for v in experiment.trainer.optimizer_variables]
        )
        constant = small.experiment(**options | {"pretrain_decay": False})
        constant.trainer.pretrain_optimizer.iterations.assign_add(8)
        self.assertAllClose(constant.trainer.pretrain_optimizer.learning_rate, 1e-3)

    def test_dropout_is_traced_once_and_differs_from_minibatch_to_minibatch(self):
        trainer = small.experiment(dropout=0.5, pretrain_learning_rate=1e-9).trainer
        batches, seed = tf.zeros([3, 64, 3], tf.int32), tf.constant([0, 8])
        losses = trainer.pretrain(batches, seed, tf.constant(0), tf.constant(3)).numpy()
        self.assertLen(set(losses), 3)
        later = trainer.pretrain(batches, seed, tf.constant(1), tf.constant(2)).numpy()
        self.assertAllClose(later, losses[1:], atol=1e-6)
        self.assertEqual(trainer.pretrain.experimental_get_tracing_count(), 1)
        tokens = batches[0]
        self.assertAllEqual(trainer.generator(tokens), trainer.generator(tokens))  # judged without

    @parameterized.parameters("mle", "reinforce_loo")
    def test_matrices_shrink_in_maximum_likelihood_by_the_rate_times_the_decay(self, estimator):
        """With the same gradients, weights without decay less those with it are the share."""
        options = {"estimator": estimator, "pretrain_epochs": 1, "pretrain_learning_rate": 1e-2}
        options["generator_learning_rate"] = 2e-2
        plain, decayed = (
            small.experiment(**options, weight_decay=decay).trainer for decay in (0.0, 0.3)
        )
        theta = plain.generator.trainable_variables
        gradient = [tf.fill(v.shape, 0.2) for v in theta]
        is_likelihood = estimator == "mle"
        for name, share in (
            ("pretrain_optimizer", 1e-2 * 0.3),
            ("generator_optimizer", 2e-2 * 0.3 * is_likelihood),
        ):
            for trainer in (plain, decayed):
                for to, value in zip(trainer.generator.variables, _start(theta), strict=True):
                    to.assign(value)
                getattr(trainer, name).apply(gradient, trainer.generator.trainable_variables)
            others = decayed.generator.trainable_variables
            for start, one, other in zip(_start(theta), theta, others, strict=True):
                shrunk = share * start * (len(start.shape) > 1)
                self.assertAllClose(one - other, shrunk, atol=1e-6)

    def test_discriminator_learns_to_tell_random_from_real(self):
        experiment = small.experiment(seq_len=5, discriminator_learning_rate=1e-2)
        batches = next(iter(data.minibatches(experiment.dataset.real, 64, 10, tf.constant([0, 0]))))
        losses = []
        for i in range(8):
            scalars, _ = experiment.trainer.train_discriminator(batches, tf.constant([0, i]))
            losses.append(float(scalars["discriminator_loss"]))
        self.assertGreater(losses[0], 0.4)
        self.assertLess(losses[-1], 0.2)

    def test_the_generators_rate_falls_by_half_a_cosine_of_its_updates_and_no_other_does(self):
        options = {"estimator": "reinforce_loo", "g_steps": 2, "updates_per_batch": 5}
        trainer = small.experiment(decay_iterations=4, **options).trainer
        constant = trainer.discriminator.optimizer, trainer.control_optimizer
        found = []
        for _ in range(6):
            found.append(float(trainer.generator_optimizer.learning_rate))
            for optimizer in (trainer.generator_optimizer, *constant):
                optimizer.iterations.assign_add(2 * 5)
        falling = 1e-2 / 2 * (1 + np.cos(np.pi * np.arange(5) / 4))
        self.assertAllClose(found, [*falling, 0], atol=1e-9)
        self.assertAllClose([float(o.learning_rate) for o in constant], [1e-3, 1e-3])
        trainer = small.experiment(**options).trainer
        trainer.generator_optimizer.iterations.assign_add(1000)
        self.assertAllClose(trainer.generator_optimizer.learning_rate, 1e-2)

    def test_the_weight_of_the_entropy_falls_with_it(self):
        """In a compiled step: the gradients of the entropy's weight 1, 1/2 and 0."""
        options = {"estimator": "reinforce_loo", "pretrain_epochs": 0, "entropy": 2.0}
        trainer = small.experiment(decay_iterations=4, **options).trainer
        seed, real = tf.constant([3, 4]), tf.zeros([64, 3], tf.int32)
        estimate = tf.function(lambda: trainer.estimate(seed, real)[0])
        found = []
        for updates in (0, 2, 4):
            trainer.generator_optimizer.iterations.assign(updates)
            found.append(tf.concat([tf.reshape(g, [-1]) for g in estimate()], axis=0))
        self.assertAllClose(found[1], (found[0] + found[2]) / 2, atol=1e-6)
        plain = small.experiment(**options | {"entropy": 0.0}).trainer.estimate(seed, real)[0]
        plain = tf.concat([tf.reshape(g, [-1]) for g in plain], axis=0)
        self.assertAllClose(found[2], plain, atol=1e-6)
        self.assertNotAllClose(found[0], plain, atol=1e-3)
        for without in ({"estimator": "reinvent"}, {"prior_kl": 0.1}):  # there is none to fall
            trainer = small.experiment(decay_iterations=4, entropy=0.0, **without).trainer
            self.assertEqual(trainer.penalty.weights.entropy, 0.0)

    @parameterized.parameters(None, 2)
    def test_judging_prefixes_a_sequence_weighs_as_much_as_another(self, end_token):
        experiment = small.experiment(estimator="reinforce_loo", judge_prefixes=True, seq_len=5)
        discriminator = experiment.models.discriminator
        discriminator.end_token = end_token
        real, fake = tf.constant([[0, 1, 0, 2, 0], [0, 2, 1, 1, 1]]), tf.constant([[2, 3, 0, 1, 4]])
        fake = tf.concat([fake, [[0, 0, 1, 1, 1]]], axis=0)
        ends = {None: [5, 5, 5, 5], 2: [4, 2, 1, 5]}[end_token]
        phi = [v.value for v in discriminator.trainable_variables]
        with tf.GradientTape() as tape:
            logits, _ = discriminator.with_pullback(tf.concat([real, fake], axis=0), prefixes=True)
            losses = [tf.math.softplus(row) for row in (-logits[0], -logits[1], *logits[2:])]
            of_rows = [tf.reduce_mean(x[:n]) for x, n in zip(losses, ends, strict=True)]
            expected = tf.reduce_mean(of_rows)
        gradient = tape.gradient(expected, phi)
        with mock.patch.object(experiment.trainer.discriminator.optimizer, "apply") as apply:
            loss, norm = experiment.trainer.discriminator.step(real, fake)
        self.assertAllClose(loss, expected, rtol=1e-5)
        self.assertAllClose(norm, tf.linalg.global_norm(gradient), rtol=1e-5)
        for found, each in zip(apply.call_args.args[0], gradient, strict=True):
            self.assertAllClose(found, each, atol=1e-6)

    @parameterized.parameters(
        {"estimator": "reinforce_loo", "judge_prefixes": True},
        {"estimator": "reinforce_loo", "discriminator": "cnn", "discriminator_dim": 3},
    )
    def test_what_is_dropped_is_dropped_in_training_alone_by_a_seed_a_minibatch(self, **options):
        options |= {"seq_len": 5, "discriminator_weight_decay": 0.1}
        whole, byhand = (
            small.experiment(discriminator_dropout=0.5, **options).trainer for _ in range(2)
        )
        plain = small.experiment(**options).trainer
        batches = tf.random.stateless_uniform([3, 64, 5], [1, 2], 0, 5, tf.int32)
        seed = tf.constant([7, 8])
        scalars, sampled = whole.train_discriminator(batches, seed)
        sampled, losses = tf.reshape(sampled, batches.shape), []
        of_dropout = tf.random.experimental.stateless_fold_in(seed, 3)
        for i in range(3):
            of_step = tf.random.experimental.stateless_fold_in(of_dropout, i)
            losses.append(byhand.discriminator.step(batches[i], sampled[i], of_step)[0])
            if i == 0:
                without, _ = plain.discriminator.step(batches[i], sampled[i], of_step)
                self.assertGreater(np.abs(without - losses[0]), 1e-4)
        self.assertAllClose(scalars["discriminator_loss"], tf.reduce_mean(losses), rtol=1e-5)
        variables = [t.discriminator.network.variables for t in (whole, byhand)]
        for one, other in zip(*variables, strict=True):
            self.assertAllClose(one, other, atol=1e-5)
        logits = whole.discriminator.network(sampled[0])
        expected = logits if "judge_prefixes" in options else tf.sigmoid(logits)
        rewarded = rewards.of_tokens(whole.reward, sampled[0], 5, tf.float32)
        self.assertAllClose(rewarded, expected, atol=1e-5)

    def test_the_loss_with_dropped_units_has_the_gradient_that_a_tape_says(self):
        options = {"estimator": "reinforce_loo", "judge_prefixes": True, "seq_len": 5}
        trainer = small.experiment(discriminator_dropout=0.5, **options).trainer
        discriminator, size = trainer.discriminator.network, 4
        real, fake = tf.split(tf.random.stateless_uniform([2 * size, 5], [1, 2], 0, 5, tf.int32), 2)
        factors = kept([2 * size, discriminator.head_units], 0.5, [3, 4])
        with tf.GradientTape() as tape:
            _, states = discriminator.so_far(tf.pad(tf.concat([real, fake], 0), [[0, 0], [0, 1]]))
            hidden = factors[:, tf.newaxis] * states[:, 1:, : discriminator.head_units]
            logits = discriminator.head(hidden)[..., 0]
            expected = tf.reduce_mean(tf.math.softplus(tf.concat([-logits[:4], logits[4:]], 0)))
        phi = [v.value for v in discriminator.trainable_variables]
        gradient = tape.gradient(expected, phi)
        with mock.patch.object(trainer.discriminator.optimizer, "apply") as apply:
            loss, _ = trainer.discriminator.step(real, fake, [3, 4])
        self.assertAllClose(loss, expected, rtol=1e-5)
        for found, each in zip(apply.call_args.args[0], gradient, strict=True):
            self.assertAllClose(found, each, atol=1e-6)

    def test_seqgan_a_token_is_worth_what_convolutions_say_of_whole_continuations(self):
        options = {"estimator": "reinforce_rollout", "discriminator": "cnn", "rollouts": 2}
        options |= {"pretrain_epochs": 0, "iterations": 2, "d_steps": 2, "discriminator_dim": 3}
        experiment = small.experiment(discriminator_dropout=0.25, **options)
        small.finish(experiment)
        trainer, discriminator = experiment.trainer, experiment.models.discriminator
        self.assertIsInstance(discriminator, ConvolutionalDiscriminator)
        self.assertEqual(trainer.update_generator.experimental_get_tracing_count(), 1)
        _, found = trainer.estimate(tf.constant([3, 4]), tf.zeros([64, 3], tf.int32))
        says = discriminator.probability(found.tokens)
        self.assertAllClose(found.reward, says, atol=1e-6)
        self.assertAllClose(found.signal[:, -1], says, atol=1e-6)  # nothing is left to continue
        self.assertAllInRange(found.signal, 0.0, 1.0)
        self.assertGreater(np.abs(found.signal[:, 0] - says).max(), 1e-4)

    @parameterized.parameters(
        {"estimator": "mle"},
        {"estimator": "reinforce_loo", "prior_kl": 0.5, "entropy": 0.1},
        {"estimator": "reinforce_loo", "sampling": "lhs"},
        {"estimator": "reinforce_loo", "sampling": "lhs", "baseline": "weighted"},
        {"estimator": "rebar"},
        {"estimator": "relax", "control_variate": "step"},
        {"estimator": "doubly_robust", "critics": 2},
        {"estimator": "cot"},
        {"estimator": "doubly_robust_relax", "control_variate": "step", "prior_kl": 0.5},
    )
    @pytest.mark.slow
    def test_rows_taken_in_parts_give_the_mean_of_the_parts(self, **options):
        whole, parts = small.experiment(**options), small.experiment(row_parts=4, **options)
        real, seed = tf.constant(parts.dataset.real[:64]), tf.constant([3, 4])
        gradient, diagnostics = parts.trainer.estimate(seed, real, row_gradients=True)
        seeds = tf.random.experimental.stateless_split(seed, 4)
        estimates = [
            whole.trainer._estimate(16, seeds[i], real[16 * i : 16 * i + 16], True)
            for i in range(4)
        ]
        for k, found in enumerate(gradient):
            self.assertAllClose(found, sum(e[0][k] for e in estimates) / 4, atol=1e-6)
        for k, found in enumerate(diagnostics.control_gradient):
            self.assertAllClose(
                found, sum(e[1].control_gradient[k] for e in estimates) / 4, atol=1e-6
            )
        self.assertAllEqual(diagnostics.tokens, tf.concat([e[1].tokens for e in estimates], axis=0))
        self.assertAllClose(diagnostics.signal, tf.concat([e[1].signal for e in estimates], axis=0))
        for name, found in diagnostics.measured.items():
            of_parts = tf.concat([e[1].measured[name] for e in estimates], axis=0)
            self.assertAllClose(found, of_parts)
        of_parts = [tf.nest.flatten(e[1].lesson) for e in estimates]
        for found, *of_part in zip(tf.nest.flatten(diagnostics.lesson), *of_parts, strict=True):
            self.assertAllClose(found, tf.concat(of_part, axis=0), atol=1e-6)
        norms = tf.concat([e[1].row_gradients.squared_norms[0] for e in estimates], axis=0)
        self.assertAllClose(diagnostics.row_gradients.squared_norms[0], norms, rtol=1e-5)
        parts.trainer.update_generator(seed, real)

    def test_relax_trains_its_control_network_and_no_other_estimator_has_one(self):
        experiment = small.experiment(estimator="relax", pretrain_epochs=0, iterations=2)
        before = [v.numpy() for v in experiment.trainer.control.network.variables]
        small.finish(experiment)
        after = [v.numpy() for v in experiment.trainer.control.network.variables]
        for a, b in zip(before, after, strict=True):
            self.assertNotAllEqual(a, b)
        self.assertIsNone(small.experiment(estimator="rebar").trainer.control.network)

    @parameterized.parameters("step", "rollout")
    @pytest.mark.slow
    def test_eta_and_temperature_are_learned_and_lambda_stays_positive(self, form):
        options = {
            "learn_eta": True,
            "learn_temperature": True,
            "control_variate": form,
            "control_learning_rate": 0.1,
            "iterations": 5,
        }
        experiment = small.experiment(estimator="rebar", pretrain_epochs=1, d_steps=5, **options)
        small.finish(experiment)
        eta, temperature = experiment.trainer.control.scalars(experiment.trainer.spec, tf.float32)
        self.assertNotAllClose(eta, 1.0)
        self.assertNotAllClose(temperature, 1.0)
        self.assertGreater(temperature, 0.0)


class CriticTest(tf.test.TestCase, parameterized.TestCase):
    def _weights(self, trainer):
        return [v.numpy() for v in trainer.critic.network.trainable_variables]

    def test_an_estimate_leaves_the_critic_alone_and_an_updates_steps_move_it(self):
        options = {"estimator": "doubly_robust", "critic_steps": 2}
        trainer = small.experiment(pretrain_epochs=0, **options).trainer
        seed, real = tf.constant([3, 4]), tf.zeros([64, 3], tf.int32)
        before = self._weights(trainer)
        trainer.estimate(seed, real)
        self.assertAllEqual(trainer.critic.optimizer.iterations, 0)
        for weight, value in zip(self._weights(trainer), before, strict=True):
            self.assertAllEqual(weight, value)
        scalars = trainer.update_generator(seed, real)
        self.assertAllEqual(trainer.critic.optimizer.iterations, 2)
        self.assertGreater(scalars["critic_loss"], 0)
        pairs = zip(before, self._weights(trainer), strict=True)
        self.assertGreater(max(np.abs(b - a).max() for a, b in pairs), 0)

    def test_it_learns_from_as_many_recent_minibatches_as_there_are(self):
        options = {"estimator": "doubly_robust", "critic_replay": 5, "critic_steps": 1}
        trainer = small.experiment(pretrain_epochs=0, **options).trainer
        real, batches = tf.zeros([64, 3], tf.int32), tf.zeros([3, 64, 3], tf.int32)
        for update, steps in enumerate((1, 1 + 4, 5 + 6, 11 + 6)):
            seed = tf.constant([0, update])
            trainer.update_generator(seed, real)
            self.assertEqual(trainer.critic.optimizer.iterations, steps)
            _, negatives = trainer.train_discriminator(batches, seed)
            newest = tf.reshape(negatives, [3, 64, 3])
            self.assertAllEqual(trainer.critic.recent.tokens[-3:], newest)

    @pytest.mark.slow
    def test_what_is_recent_makes_no_call_of_a_reward_of_ones_own(self):
        asked = []

        @regan_tf.text_reward
        def counted(texts):
            asked.extend(texts)
            return [text.count("+") for text in texts]

        options = {"reward": "a:b", "own_reward": counted}
        options |= {"estimator": "doubly_robust", "seq_len": 15, "iterations": 3, "d_steps": 2}
        experiment = small.experiment(critic_replay=4, pretrain_epochs=0, **options)
        before = len(asked)
        small.finish(experiment)
        self.assertLessEqual(len(asked) - before, 3 * 64)
        recent = experiment.trainer.critic.recent
        self.assertEqual(recent.first, 1)  # of the updates' batches there were three
        plus = experiment.dataset.vocabulary.symbols.index("+")
        own = np.sum(recent.tokens.numpy()[1:] == plus, axis=2)
        self.assertAllClose(recent.reward.numpy()[1:], own)


class ConfigTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        (
            {"estimator": "rebarr"},
            f"--estimator=rebarr is not allowed: it must be one of {', '.join(ESTIMATORS)}",
        ),
        ({"seq_len": 2}, "--seq_len=2 is not allowed: it must be at least 3"),
        ({"temperature": 0.0}, "--temperature=0.0 is not allowed: it must be above 0"),
        (
            {"temperature": float("nan")},
            "--temperature=nan is not allowed: it must be a finite number",
        ),
        ({"batch_size": 20_000}, "--batch_size=20000 is not allowed: at most --data_size=10000"),
        ({"batch_size": 1}, "--batch_size=1 is not allowed with --track_variance"),
        ({"seed": 2**31}, "--seed=2147483648 is not allowed: it must be at most 2147483647"),
        (
            {"estimator": "reinforce", "control_variate": "step"},
            "--control_variate=step contradicts --estimator=reinforce",
        ),
        (
            {"estimator": "straight_through", "leave_one_out": True},
            "--leave_one_out=True contradicts --estimator=straight_through",
        ),
        (
            {"estimator": "reinforce_loo", "learn_eta": True},
            "--learn_eta=True contradicts --estimator=reinforce_loo",
        ),
        ({"row_parts": 3}, "--row_parts=3 is not allowed: it must divide --batch_size=128"),
        (
            {"sampling": "sobol", "estimator": "reinforce", "batch_size": 7},
            "--batch_size=7 is not allowed: sampling=sobol needs an even number of rows, at least",
        ),
        (
            {"row_parts": 64, "estimator": "reinforce_loo", "sampling": "sobol"},
            "--row_parts=64 contradicts --sampling=sobol, for which a part needs an even number",
        ),
        (
            {"sampling": "lhs", "estimator": "straight_through"},
            "--sampling=lhs contradicts --estimator=straight_through, which needs the Gumbel noise",
        ),
        (
            {"row_parts": 2, "distribution": "mirrored"},
            "--row_parts=2 contradicts --distribution=mirrored",
        ),
        (
            {"row_parts": 2, "estimator": "reinforce", "updates_per_batch": 4},
            "--row_parts=2 contradicts --updates_per_batch=4: take a smaller --batch_size",
        ),
        (
            {"estimator": "rebar", "updates_per_batch": 4},
            "--updates_per_batch=4 contradicts --estimator=rebar, which needs fresh sequences; "
            "reinforce, reinforce_loo, reinforce_rollout, actor_critic and "
            "reinvent can use them again",
        ),
        ({"clip": 0.0}, "--clip=0.0 is not allowed: it must be above 0"),
        (
            {"estimator": "mle", "prior_kl": 0.1},
            "--prior_kl=0.1 contradicts --estimator=mle, which has no learning signal",
        ),
        (
            {"estimator": "rebar", "judge_prefixes": True},
            "--judge_prefixes contradicts --estimator=rebar: take reinforce_loo, reinforce",
        ),
        (
            {"estimator": "reinforce_rollout", "judge_prefixes": True},
            "--judge_prefixes contradicts --estimator=reinforce_rollout",
        ),
        (
            {"estimator": "reinforce", "judge_prefixes": True, "reward": "mine:reward"},
            "--judge_prefixes contradicts --reward=mine:reward, which is of whole sequences",
        ),
        (
            {"estimator": "reinforce", "dense_reward": True},
            "--dense_reward needs --judge_prefixes",
        ),
        ({"estimator": "reinforce", "discount": 0.9}, "--discount=0.9 needs --judge_prefixes"),
        (
            {"estimator": "actor_critic", "judge_prefixes": True, "discount": 0.9},
            "--discount=0.9 contradicts --estimator=actor_critic, whose critic sums what is to",
        ),
        ({"discount": 0.0}, "--discount=0.0 is not allowed: it must be above 0"),
        ({"discount": 1.1}, "--discount=1.1 is not allowed: it must be at most 1"),
        (
            {"estimator": "reinforce", "judge_prefixes": True, "discriminator": "cnn"},
            "--judge_prefixes contradicts --discriminator=cnn, which judges whole sequences alone",
        ),
        (
            {"estimator": "doubly_robust", "critic_reads": "next", "discriminator": "cnn"},
            "--critic_reads=next contradicts --discriminator=cnn, which judges whole sequences",
        ),
        ({"discriminator": "gru"}, "--discriminator=gru is not allowed: it must be one of lstm, "),
        ({"discriminator_dropout": 1.0}, "--discriminator_dropout=1.0 is not allowed: it must be"),
        (
            {"discriminator_weight_decay": -0.1},
            "--discriminator_weight_decay=-0.1 is not allowed: it must be at least 0",
        ),
        ({"decay_iterations": -1}, "--decay_iterations=-1 is not allowed: it must be at least 0"),
        ({"reward_weight": 0.5}, "--reward_weight=0.5 needs --reward"),
        (
            {"reward": "mine:reward", "reward_weight": 0.5, "d_steps": 0},
            "--d_steps=0 contradicts --reward_weight=0.5",
        ),
        ({"reward_weight": 0.0}, "--reward_weight=0.0 is not allowed: it must be above 0"),
        ({"reward_weight": 1.5}, "--reward_weight=1.5 is not allowed: it must be at most 1"),
        (
            {"estimator": "reinforce_loo", "critics": 2},
            "--critics=2 contradicts --estimator=reinforce_loo, which has no critic; actor_critic",
        ),
        (
            {"estimator": "relax", "critic_target": "reward"},
            "--critic_target=reward contradicts --estimator=relax, which has no critic",
        ),
        (
            {"estimator": "mle", "critic_reads": "next"},
            "--critic_reads=next contradicts --estimator=mle, which has no critic",
        ),
        (
            {
                "estimator": "doubly_robust",
                "critic_replay": 2,
                "reward": "a:b",
                "reward_weight": 0.5,
            },
            "--critic_replay=2 contradicts --reward_weight=0.5: what the discriminator thinks",
        ),
        (
            {"estimator": "reinforce", "critic_replay": 2},
            "--critic_replay=2 contradicts --estimator=reinforce, which has no critic",
        ),
        (
            {"estimator": "doubly_robust_relax"},
            "--control_variate=sequence contradicts --estimator=doubly_robust_relax, which needs",
        ),
        (
            {"estimator": "doubly_robust", "updates_per_batch": 2},
            "--updates_per_batch=2 contradicts --estimator=doubly_robust, which needs fresh",
        ),
        (
            {"estimator": "all_actions_biased", "prior_kl": 0.1},
            "--prior_kl=0.1 contradicts --estimator=all_actions_biased, which has no learning",
        ),
        ({"sigma": 60.0}, "--sigma=60.0 contradicts --estimator=rebar, which has none"),
        (
            {"estimator": "reinvent", "entropy": 0.1},
            "--entropy=0.1 contradicts --estimator=reinvent, which keeps to the prior by itself",
        ),
        ({"entropy": -0.1}, "--entropy=-0.1 is not allowed: it must be at least 0"),
        ({"dropout": 1.0}, "--dropout=1.0 is not allowed: it must be at most 0.99"),
        ({"weight_decay": -1.0}, "--weight_decay=-1.0 is not allowed: it must be at least 0"),
        (
            {"estimator": "cot", "reward": "a:b"},
            "--reward=a:b contradicts --estimator=cot, which follows its mediator instead",
        ),
        (
            {"estimator": "cot", "d_steps": 0},
            "--d_steps=0 contradicts --estimator=cot, which follows its mediator; mle does not",
        ),
        (
            {"estimator": "cot_unbiased", "prior_kl": 0.1},
            "--prior_kl=0.1 contradicts --estimator=cot_unbiased, which follows its mediator alone",
        ),
        (
            {"estimator": "reinforce", "mediator_dim": 64},
            "--mediator_dim=64 contradicts --estimator=reinforce, which has no mediator; cot and",
        ),
        (
            {"estimator": "mle", "mediator_learning_rate": 0.1},
            "--mediator_learning_rate=0.1 contradicts --estimator=mle, which has no mediator",
        ),
        (
            {"estimator": "cot_unbiased", "discriminator": "cnn"},
            "--discriminator=cnn contradicts --estimator=cot_unbiased, which has a mediator and no",
        ),
        (
            {"estimator": "reinforce", "reward": "a:b", "discriminator_dropout": 0.5},
            "--discriminator_dropout=0.5 contradicts --reward=a:b, without which the",
        ),
        (
            {"estimator": "mle", "d_steps": 0, "discriminator_weight_decay": 0.1},
            "--discriminator_weight_decay=0.1 contradicts --d_steps=0, by which no discriminator",
        ),
        (
            {"dropout": 0.5, "pretrain_epochs": 0.0},
            "--dropout=0.5 needs maximum likelihood: --pretrain_epochs above 0, or --estimator=mle",
        ),
        (
            {"weight_decay": 0.1, "start_from": "elsewhere"},
            "--weight_decay=0.1 needs maximum likelihood: --pretrain_epochs above 0, or",
        ),
        (
            {"estimator": "cot", "leave_one_out": True},
            "--leave_one_out=True contradicts --estimator=cot, which has no learning signal",
        ),
        (
            {"estimator": "cot_unbiased", "updates_per_batch": 2},
            "--updates_per_batch=2 contradicts --estimator=cot_unbiased, which needs fresh",
        ),
        (
            {"estimator": "cot", "judge_prefixes": True},
            "--judge_prefixes contradicts --estimator=cot: take",
        ),
        (
            {"estimator": "cot_unbiased", "critic_reads": "next"},
            "--critic_reads=next contradicts --estimator=cot_unbiased, which has no critic",
        ),
        (
            {"iterations": 0, "pretrain_epochs": 0.0},
            "--iterations=0 contradicts --pretrain_epochs=0",
        ),
    )
    def test_bad_values_are_named_with_what_is_allowed(self, values, message):
        with self.assertRaises(UserError) as caught:
            Config(**values)
        self.assertStartsWith(str(caught.exception), message)

    @parameterized.parameters(
        {"estimator": "cot", "mediator_dim": 64, "mediator_learning_rate": 0.1, "dropout": 0.1},
        {"estimator": "cot", "weight_decay": 0.1, "pretrain_epochs": 0.0},
        {"estimator": "mle", "weight_decay": 0.1, "pretrain_epochs": 0.0, "discriminator": "cnn"},
        {"reward": "a:b", "reward_weight": 0.5, "discriminator_dropout": 0.5},
        {"weight_decay": 0.1, "start_from": "elsewhere", "pretrain_epochs": 1.0},
    )
    def test_what_has_an_effect_is_allowed(self, **values):
        Config(**values).resolved().resolved()

    def test_an_update_that_cannot_fit_is_refused_at_the_start(self):
        options = {
            "generator_dim": 4096,
            "seq_len": 1000,
            "batch_size": 10_000,
            "data_size": 10_000,
        }
        with self.assertRaisesRegex(
            UserError, "--batch_size=10000 needs about .* GiB, and there are .* --row_parts"
        ):
            run(Config(**options).resolved())

    def test_defaults_follow_the_length(self):
        short, long = Config().resolved(), Config(seq_len=15).resolved()
        self.assertEqual((short.pretrain_epochs, short.iterations, short.d_steps), (1, 200, 78))
        self.assertEqual((long.pretrain_epochs, long.iterations, long.d_steps), (3, 234, 78))
