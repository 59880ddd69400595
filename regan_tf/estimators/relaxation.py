"""Continuous relaxations z and z~ of the sampled tokens (ReGAN sections 3.2 and A.2), over TFP's
distribution.

Shapes: [..., V]; a token b is the argmax of z over the last axis. Noise is an argument.
"""

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from regan_tf.networks.autoregressive import replaced


class RelaxedTokens(tfp.distributions.RelaxedOneHotCategorical):
    """The distribution of s_lambda(z), z = l + Gumbel, with the pieces that the estimators need and
    TFP keeps to itself.

    TFP supplies the distribution: parameters, densities, its own sampler (against which
    `relax(unrelaxed(noise))` is tested). What it lacks is added: the unrelaxed z, and z~, that is z
    given its own argmax.

    Args:
      temperature: lambda > 0, a float or a scalar tensor (which may be learned).
      logits: the generator's log-probabilities l, [..., V]. Gradients of all methods reach the
        generator through it.
    """

    def __init__(self, temperature: Any, logits: tf.Tensor):
        super().__init__(temperature=tf.convert_to_tensor(temperature, logits.dtype), logits=logits)
        # Instead of the parent's: TFP copies by them.
        self._parameters = {"temperature": temperature, "logits": logits}

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        # TFP asks for them where there is an __init__ of one's own, in a warning of twenty lines.
        properties = super()._parameter_properties(dtype, num_classes)
        return {name: properties[name] for name in ("temperature", "logits")}

    def unrelaxed(self, noise: tf.Tensor) -> tf.Tensor:
        """z = l + g ~ p(z | theta), section 3.2; noise: Gumbel, [..., V]. Gradients reach l."""
        return self.logits + noise

    def conditional(self, tokens: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """z~ ~ p(z | b, theta), section 3.2: the distribution of z given that its argmax is b.

            z~_b = -log(-log v_b),   z~_i = -log(-log v_i / p_i - log v_b)

        (Tucker et al. 2017, appendix C)

        The second is computed as l_i - log(-log v_i - p_i log v_b), and its slope in l_i as
        log v_i / (log v_i + p_i log v_b): both stay finite down to l = -1e4. The argmax is b by
        construction, to rounding, where p_b does not round to 0.

        Args:
          tokens: b, int32 [...].
          noise: uniform v in (0, 1), [..., V], independent of b.
        Returns:
          z~ [..., V]. Gradients flow through l, never through b.
        """
        gumbel, slope = self._given(tokens, noise)

        @tf.custom_gradient
        def moved(logits):
            return logits + gumbel, lambda cotangent: cotangent * slope

        return moved(self.logits)

    def gumbel_given(self, tokens: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """The Gumbel noise of a z whose argmax is b, where b was drawn without it: z~ - l, from
        what `conditional` takes, and constant.
        """
        return self._given(tokens, noise)[0]

    def _given(self, tokens, noise):
        """z~ - l, and dz~/dl: 0 for b, since z~_b = l_b - log(- p_b log v_b). After the end p_b may
        be 0: what is said of it there counts for nothing, but must be finite.
        """
        tokens, exponential = tf.convert_to_tensor(tokens), -tf.math.log(noise)
        of_b = tf.gather(exponential, tokens, axis=-1, batch_dims=tokens.shape.rank)
        least = np.finfo(noise.dtype.as_numpy_dtype).tiny
        others = replaced(exponential, tokens, tf.fill(tf.shape(of_b), least))
        rate = others + tf.exp(tf.stop_gradient(self.logits)) * of_b[..., tf.newaxis]
        return -tf.math.log(rate), others / rate

    def relax(self, z: tf.Tensor) -> tf.Tensor:
        """s_lambda(z) = softmax(z / lambda), [..., V]."""
        return tf.nn.softmax(z / self.temperature)


def pair(
    distribution: RelaxedTokens,
    tokens: tf.Tensor,
    gumbel: tf.Tensor,
    uniform: tf.Tensor,
    coupled: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """z and z~ of one pass of the generator, [K B, T, V] each, for K draws of z~ given b.

    Given b, z~ has the distribution of z: so z may take the value of z~, and is then only
    differentiated in another way: z = l + g moves with l as it is, z~ as its formula says. c need
    not be evaluated twice, and what c(z) and c(z~) have in common cancels.

    Args:
      distribution: of the pass, with lambda and l [B, T, V].
      tokens: b, [B, T].
      gumbel: g [B, T, V], with b as the argmax of l + g.
      uniform: v [K B, T, V], independent of it.
      coupled: z takes the value of z~, instead of l + g.
    Returns:
      z, z~. Gradients of both flow through l.
    """
    copies = uniform.shape[0] // gumbel.shape[0]
    log_probs = tf.tile(distribution.logits, [copies, 1, 1])
    distribution = RelaxedTokens(distribution.temperature, log_probs)
    z_tilde = distribution.conditional(tf.tile(tokens, [copies, 1]), uniform)
    noise = tf.stop_gradient(z_tilde - log_probs) if coupled else tf.tile(gumbel, [copies, 1, 1])
    return distribution.unrelaxed(noise), z_tilde
