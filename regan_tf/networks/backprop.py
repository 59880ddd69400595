"""Back-propagation through time by hand: all that goes backward through the networks.

A weight W that is used as x_t W at every step t has in row j of a batch the gradient sum_t x_jt
(outer) d_jt, where d is the cotangent of x W. So once the d are at hand, each weight's gradient is
one product over all steps and rows; and the norms of the rows' gradients g_j, which the variance
over rows wants, come without a loop over rows: ||g_j||^2 = sum_ts (x_jt . x_js)(d_jt . d_js).

What it would cost to do without: a tape gives the same d, as the gradient of a zero tensor added to
the cell's pre-activations; gradients and norms then agree to 3e-7, at equal time for T = 15 and
120. In a loop of TensorFlow's, at T = 240, what follows was 1.13 to 1.25 times faster: a tape keeps
every intermediate of the loop, this only what `LSTMCell.traced` gives.

From the top down: `with_pullback`, for any generator; back through our `Generator` and our
`Discriminator`; through their parts, log-softmax and cell; what a weight gets, and the norms of its
rows; and the tape, for generators that have no way of their own.
"""

import functools
from collections.abc import Callable, Iterable

import keras
import tensorflow as tf

from regan_tf.networks import autoregressive, lstm, recurrence, softmax
from regan_tf.networks.autoregressive import chosen
from regan_tf.networks.protocol import (
    FastGenerator,
    RowGradients,
    SequenceGenerator,
    Unrolled,
)

_SIGMOID, _TANH = tf.raw_ops.SigmoidGrad, tf.raw_ops.TanhGrad  # from y and dy


def with_pullback(
    generator: SequenceGenerator, run: Callable[[], Unrolled]
) -> tuple[Unrolled, Callable]:
    """Runs a pass of the generator, and gives the function that takes a cotangent back through it
    to the weights.

    Args:
      generator: a SequenceGenerator. A FastGenerator's own `pullback` is used; else a tape, which
        is slower.
      run: () -> Unrolled.
    Returns:
      Unrolled; and a function (cotangent, row_gradients=False) -> the gradient, summed over rows, a
      tensor for each of `trainable_variables`, and RowGradients or None. The cotangent is that of
      log_probs, [B, T, V], or of the tokens' own alone, [B, T], and 0 after the end; both results
      are differentiable in it, and in nothing else.
    """
    if isinstance(generator, FastGenerator):
        unrolled = run()
        return unrolled, functools.partial(generator.pullback, unrolled)
    return with_tape(
        generator, lambda: (run(),), lambda u: (u.log_probs, chosen(u.log_probs, u.tokens))
    )


def through_generator(
    generator: keras.Model, unrolled: Unrolled, cotangent: tf.Tensor, row_gradients: bool = False
) -> tuple[list[tf.Tensor], RowGradients | None]:
    """Back through a pass of our `Generator` to the gradient in its weights.

    Args:
      unrolled: as the generator's `unroll` or `teacher_force` gave it. Where that had masks, they
        are in the weights' inputs, and in the cotangents of what they multiply.
      cotangent: of its log_probs, [B, T, V]; or of those of its tokens alone, [B, T]. After a
        sequence's end it must be 0.
      row_gradients: also give RowGradients.
    Returns:
      The gradient, summed over rows, in the order of `trainable_variables`; and RowGradients, or
      None. Both are linear or quadratic in the cotangent, and differentiable in it alone.
    """
    cell, output = generator.cell, generator.output_layer
    hidden, (trace, log_probs, of_tokens, masks) = unrolled.states[0], unrolled.saved
    shown = hidden * masks[1] if masks else hidden  # to the output layer
    factor = None
    if of_tokens and cotangent.shape.rank == 2:
        # The logits' cotangent is this factor, [T, B, 1], times what is at hand. It goes to the
        # other side of each product, which is far smaller where V is large.
        factor, d_logits = -tf.transpose(cotangent)[..., tf.newaxis], of_tokens
        d_hidden = of_tokens.through(output.kernel.value) * factor
        shown = shown * factor
    else:
        has_all = of_tokens and of_tokens.places is None
        probs = of_tokens.probs if has_all else tf.exp(log_probs)
        d_logits = _through_log_softmax(probs, unrolled.tokens, cotangent)
        d_hidden = lstm.product(d_logits, output.kernel.value, transpose=True)
    d_hidden = d_hidden * masks[1] if masks else d_hidden
    d = _through_cell(cell, trace, d_hidden, hidden.shape[0])
    read, embedding = generator.tokens_read(unrolled.tokens), generator.embedding.embeddings
    d_embedded = lstm.product(d, cell.kernel.value, transpose=True)
    d_embedded = d_embedded * masks[0] if masks else d_embedded
    used = _used_in_cell(cell, generator.embedded(read, masks), hidden, d)
    used |= {id(output.kernel): (shown, d_logits), id(output.bias): (factor, d_logits)}
    used |= {id(embedding): (read, d_embedded)}
    summed = used
    if generator.reads_by_table and not masks:  # the few rows of the table give the same sums
        d_table = _weight_gradient(embedding, read, d)
        d_rows = lstm.product(d_table, cell.kernel.value, transpose=True)
        summed = used | {id(embedding): (None, d_rows), id(cell.kernel): (embedding.value, d_table)}
    gradient = _gradient(generator, summed)
    if not row_gradients:
        return gradient, None
    if factor is not None:  # once in full: the norms of what is nearly 0 would cancel
        d_logits = of_tokens.minus_slope()
        used |= {id(output.kernel): (shown, d_logits), id(output.bias): (factor, d_logits)}
    norms = [_squared_row_norms(*used[id(v)]) for v in generator.trainable_variables]
    return gradient, RowGradients(norms, tf.reduce_sum(shown[:, :, 0] * d_logits[:, :, 0], axis=0))


def through_discriminator(
    discriminator: keras.Model, saved: tuple, cotangent: tf.Tensor
) -> list[tf.Tensor]:
    """Back through a pass of a `Discriminator`, of which its `with_pullback` saved what is needed:
    from the cotangent of the logits, [B], or of every prefix's, [B, T], to the gradient in the
    weights, summed over rows.
    """
    cell, head = discriminator.cell, discriminator.head
    tokens, hidden, trace, last, is_last, kept = saved
    d_logit = tf.transpose(cotangent)[..., tf.newaxis]
    d_last = lstm.product(d_logit, head.kernel.value, transpose=True)
    d_last = d_last if kept is None else kept * d_last
    d_hidden = d_last if is_last is None else is_last * d_last
    d = _through_cell(cell, trace, d_hidden, tokens.shape[1])
    used = _used_in_cell(cell, tf.transpose(tokens), hidden, d)
    used |= {id(head.kernel): (last, d_logit), id(head.bias): (None, d_logit)}
    return _gradient(discriminator, used)


def _through_log_softmax(probs, tokens, cotangent):
    """The logits' cotangent, [T, B, V], from that of l = log_softmax(logits), or of the tokens'
    entries of l alone.
    """
    if cotangent.shape.rank == 3:
        d = tf.transpose(cotangent, [1, 0, 2])
        return d - probs * tf.reduce_sum(d, axis=-1, keepdims=True)
    d, tokens = tf.transpose(cotangent), tf.transpose(tokens)
    return autoregressive.added(probs * -d[..., tf.newaxis], tokens, d)


def _through_cell(cell, trace, cotangent, length):
    """Through time, from the zero state.

    Args:
      trace: what `LSTMCell.traced` gave at every step, as `recurrence.unroll` collected it.
      cotangent: of every h, [T, B, H]; or of the last one, [B, H].
      length: T.
    Returns:
      The cotangents of the pre-activations, [T, B, 4H]; they are those of `projected`, too.
      Differentiable in the cotangent alone, in which they are linear: the gradient of this pass
      goes forward through time, and that one's is this pass again.
    """
    recurrent = tf.convert_to_tensor(cell.recurrent_kernel.value)
    zeros, of_last = cell.initial_state(tf.shape(cotangent)[-2]), cotangent.shape.rank == 2

    def unroll(step, start, inputs, reverse):
        weights = [recurrent]
        return recurrence.unroll(step, start, inputs, length, reverse, weights, closed=True)

    @tf.custom_gradient
    def backward(cotangent):
        start, of_steps = ((cotangent, zeros[1]), ()) if of_last else (zeros, (cotangent,))
        d, _ = unroll(_cell_backward, start, (trace, *of_steps), reverse=True)
        return recurrence.stack(d), forward

    @tf.custom_gradient
    def forward(tangent):
        d_h, (last, _) = unroll(_cell_forward, zeros, (trace, tangent), reverse=False)
        return last if of_last else recurrence.stack(d_h), backward

    return backward(cotangent)


def _cell_backward(inputs, carry, recurrent):
    """The transpose of a step's Jacobian: from the cotangents of h and c to that of the
    pre-activations, and those of the h and c before.
    """
    (i, f, o, g, c, squashed), *of_h = inputs
    d_h = carry[0] + of_h[0] if of_h else carry[0]
    d_c = _TANH(y=squashed, dy=d_h * o) + carry[1]
    d_o = _SIGMOID(y=o, dy=d_h * squashed)
    d_i = _SIGMOID(y=i, dy=d_c * g)
    d_f = _SIGMOID(y=f, dy=d_c * c)
    d_g = _TANH(y=g, dy=d_c * i)
    d = tf.concat([d_i, d_f, d_o, d_g], axis=-1)
    return d, (lstm.product(d, recurrent, transpose=True), d_c * f)


def _cell_forward(inputs, carry, recurrent):
    """A step's Jacobian: from the tangents of the pre-activations, but for what h adds to them, and
    those of the h and c before, to those of h and c.
    """
    (i, f, o, g, c, squashed), tangent = inputs
    d_i, d_f, d_o, d_g = tf.split(tangent + lstm.product(carry[0], recurrent), 4, axis=-1)
    d_c = _SIGMOID(y=i, dy=d_i * g) + _SIGMOID(y=f, dy=d_f * c) + _TANH(y=g, dy=d_g * i)
    d_c += carry[1] * f
    d_h = _SIGMOID(y=o, dy=d_o * squashed) + _TANH(y=squashed, dy=d_c * o)
    return d_h, (d_h, d_c)


def _used_in_cell(cell, x, hidden, d):
    """How the cell's weights are used: the x and the d of each, by its id.

    Here and below x is [..., X], for a product x W; or tokens int32 [...], for one-hot x; or None,
    where W is added. And d is the cotangent of the product or sum, [..., Y].
    """
    before = tf.concat([tf.zeros_like(hidden[:1]), hidden[:-1]], axis=0)
    return {
        id(cell.kernel): (x, d),
        id(cell.recurrent_kernel): (before, d),
        id(cell.bias): (None, d),
    }


def _gradient(network, used):
    return [_weight_gradient(v, *used[id(v)]) for v in network.trainable_variables]


def _weight_gradient(weight, x, d):
    """The sum of x (outer) d, or of d, over all leading axes: of the weight's shape."""
    if isinstance(d, softmax.OfTokens):
        return tf.reshape(d.weighed(x), weight.shape)
    if x is None:
        return tf.reduce_sum(d, axis=list(range(d.shape.rank - len(weight.shape))))
    d, size = tf.reshape(d, [-1, d.shape[-1]]), weight.shape[0]
    if x.dtype.is_integer and size > lstm.ONE_HOT_LIMIT:
        return tf.math.unsorted_segment_sum(d, tf.reshape(x, [-1]), size)
    x = tf.one_hot(x, size, dtype=d.dtype) if x.dtype.is_integer else x
    return tf.matmul(tf.reshape(x, [-1, size]), d, transpose_a=True)


def _squared_row_norms(x, d):
    """||sum_t x_t (outer) d_t||^2 of each row: x [T, B, X], d [T, B, Y] -> [B].

    Either the matrices are formed, or (the "ghost norm") their inner products sum_ts (x_t .
    x_s)(d_t . d_s), whichever is smaller.
    """
    if x is None:
        return tf.reduce_sum(tf.reduce_sum(d, axis=0) ** 2, axis=-1)
    if x.dtype.is_integer:
        tokens = tf.transpose(x)
        same = tf.cast(tokens[:, :, tf.newaxis] == tokens[:, tf.newaxis], d.dtype)
        return tf.einsum("bts,bts->b", same, _gram(d))
    length, (x_dim, d_dim) = x.shape[0], (x.shape[-1], d.shape[-1])
    if length * length < x_dim * d_dim:
        return tf.einsum("bts,bts->b", _gram(x), _gram(d))
    return tf.reduce_sum(tf.einsum("tbx,tbd->bxd", x, d) ** 2, axis=[1, 2])


def _gram(x):
    return tf.einsum("tbx,sbx->bts", x, x)


def with_tape(
    network: SequenceGenerator | keras.Model,
    run: Callable[[], tuple],
    target: Callable[..., Iterable[tf.Tensor]],
) -> tuple:
    """What run() gives, and the pullback of target(*run()) to the weights, by a tape.

    The targets are tensors [B, ...] of different rank.
    """
    theta = values(network.trainable_variables)
    with tf.GradientTape(watch_accessed_variables=False, persistent=True) as tape:
        tape.watch(theta)
        results = run()
        outputs = {output.shape.rank: output for output in target(*results)}

    def pullback(cotangent, row_gradients=False):
        def of(cotangent):
            gradient = tape.gradient(
                outputs[cotangent.shape.rank], theta, cotangent, unconnected_gradients="zero"
            )
            return [tf.convert_to_tensor(g) for g in gradient]

        return of(cotangent), _row_gradients(of, cotangent) if row_gradients else None

    return *results, pullback


def _row_gradients(pullback, cotangent):
    """RowGradients for any generator: a backward pass for many rows at a time, vectorised. Slower
    than a generator's own.
    """
    size = cotangent.shape[0]

    def of_row(mask):
        rows = tf.reshape(mask, [-1] + [1] * (cotangent.shape.rank - 1)) * cotangent
        return row_figures(pullback(rows))

    parameters = sum(g.shape.num_elements() for g in pullback(cotangent))
    part = max(1, min(size, autoregressive.AT_ONCE // parameters))
    padded = tf.eye(size + -size % part, size, dtype=cotangent.dtype)
    figures = tf.map_fn(
        lambda masks: tf.vectorized_map(of_row, masks),
        tf.reshape(padded, [-1, part, size]),
        parallel_iterations=1,
    )
    return of_figures(tf.reshape(figures, [-1, figures.shape[-1]])[:size])


def row_figures(gradient: list[tf.Tensor]) -> tf.Tensor:
    """What RowGradients wants of one row's gradient: a squared norm a variable, then the first
    parameter of the last layer, taken to be the first of the last variable with two axes.
    """
    last = next((g for g in reversed(gradient) if g.shape.rank == 2), gradient[-1])
    return tf.stack([*(tf.reduce_sum(g**2) for g in gradient), tf.reshape(last, [-1])[0]])


def of_figures(figures: tf.Tensor) -> RowGradients:
    """RowGradients from the `row_figures` of all rows, [B, variables + 1]."""
    *norms, first = tf.unstack(figures, axis=1)
    return RowGradients(norms, first)


def values(variables: Iterable[keras.Variable]) -> list[tf.Variable]:
    """The tf.Variables of Keras variables, which are what a tape watches."""
    return [v if isinstance(v, tf.Variable) else v.value for v in variables]
