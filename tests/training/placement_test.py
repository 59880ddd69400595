"""Nothing on the path of a run keeps it from a GPU: every op of the compiled steps is one that
TensorFlow has on GPUs, too.
"""

from unittest import mock

import pytest
import tensorflow as tf
from absl.testing import parameterized

from regan_tf import Discriminator, Generator
from regan_tf.config import Config
from regan_tf.networks import recurrence
from regan_tf.spec import ESTIMATORS
from regan_tf.training.trainer import Trainer

# Each has a GPU kernel in TensorFlow 2.21, or only handles shapes, or calls functions. Left out on
# purpose: CudnnRNN (no second derivatives), PyFunc, lookups and strings, random ops with a state.
_ON_GPU = """
    Abs AddN AddV2 All Any ArgMax AssignAddVariableOp AssignSubVariableOp AssignVariableOp
    BiasAdd BiasAddGrad BroadcastGradientArgs BroadcastTo Cast ConcatOffset ConcatV2 Const
    Conv2D Conv2DBackpropFilter Conv2DBackpropInput Cumsum DivNoNan Einsum EmptyTensorList
    EnsureShape Equal Exp ExpandDims Fill FloorDiv FloorMod GatherNd GatherV2 Greater
    GreaterEqual Identity IdentityN InvertPermutation L2Loss Less LessEqual Log Log1p LogSoftmax
    LogicalAnd MatMul MatrixDiagPartV3 MatrixDiagV3 Max Maximum Mean Minimum Mul Neg NoOp
    NotEqual OneHot Pack Pad PartitionedCall Placeholder PlaceholderWithDefault Pow Prod Range
    Rank ReadVariableOp RealDiv Reshape ResourceGather ScatterNd Select SelectV2 Shape ShapeN
    Sigmoid SigmoidGrad Size Slice Softmax Softplus Split SplitV Sqrt Square Squeeze
    StatefulPartitionedCall StatelessIf StatelessRandomGetKeyCounter
    StatelessRandomUniformFullIntV2 StatelessRandomUniformV2 StatelessWhile StopGradient
    StridedSlice StridedSliceGrad Sub Sum Tanh TanhGrad TensorListElementShape
    TensorListFromTensor TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack
    TensorListReserve TensorListSetItem TensorListStack TensorScatterAdd TensorScatterSub
    TensorScatterUpdate Tile Transpose Unpack UnsortedSegmentSum VariableShape Where While
    ZerosLike
"""


class PlacementTest(tf.test.TestCase, parameterized.TestCase):
    def _trainer(self, vocab_size=300, **options):
        config = Config(seq_len=3, batch_size=8, data_size=16, **options).resolved()
        return Trainer(
            config,
            Generator(vocab_size, 3, 4, 4, end_token=0),
            Discriminator(vocab_size, 4, end_token=0),
            prior=Generator(vocab_size, 3, 4, 4, end_token=0),
        )

    def _ops(self, concrete_function):
        graph = concrete_function.graph.as_graph_def()
        nodes = [
            *graph.node,
            *(node for function in graph.library.function for node in function.node_def),
        ]
        called = {function.signature.name for function in graph.library.function}
        return {node.op for node in nodes} - called

    @parameterized.parameters(
        *[
            (estimator, "step" if estimator == "doubly_robust_relax" else "sequence", True)
            for estimator in ESTIMATORS
        ],
        *[
            ("relax", form, in_graph_loop)
            for form in ("step", "rollout")
            for in_graph_loop in (False, True)
        ],
    )
    @pytest.mark.slow
    def test_updates(self, estimator, form, in_graph_loop):
        if in_graph_loop:
            self.enterContext(mock.patch.object(recurrence, "UNROLL_LIMIT", 0))
        options = {"critic_replay": 2} if ESTIMATORS[estimator].critic else {}
        trainer = self._trainer(estimator=estimator, control_variate=form, rollouts=2, **options)
        update = trainer.update_generator.get_concrete_function(
            tf.constant([0, 0]), tf.zeros([8, 3], tf.int32)
        )
        self.assertEmpty(self._ops(update) - set(_ON_GPU.split()))
        if estimator in ("mle", "reinforce", "reinforce_loo", "reinforce_rollout"):
            self.assertNotIn("OneHot", self._ops(update))  # of many tokens

    @parameterized.parameters((5, {}), (300, {}), (300, {"estimator": "cot", "dropout": 0.3}))
    def test_likelihood_and_discriminator(self, vocab_size, options):
        trainer, batches = self._trainer(vocab_size, **options), tf.zeros([2, 8, 3], tf.int32)
        seed, part = tf.constant([0, 0]), (tf.constant(0), tf.constant(2))
        steps = [
            trainer.pretrain.get_concrete_function(batches, seed, *part),
            trainer.train_opponent.get_concrete_function(batches, seed),
        ]
        for step in steps:
            self.assertEmpty(self._ops(step) - set(_ON_GPU.split()))
            # A large vocabulary goes without.
            self.assertEqual("OneHot" in self._ops(step), vocab_size == 5)
