"""What all tests share.

`make test-fast`, or `python -m pytest -m "not slow"`, runs the fast part alone: the core, without
the commands, servers and replicas that start processes of their own, and without what takes many
seconds. (The marker stands below `parameterized`, which makes new functions of what it is given:
above, it would be lost.)
"""

from regan_tf.cli import command

# As a run does: it then gives the same numbers here as in a process of its own.
command.start_tensorflow(threads=1)

import tensorflow as tf  # noqa: E402

# Two devices, for the tests of replicas; without a strategy everything runs on the first.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


def pytest_collection_modifyitems(items):
    """Leaves out `test_session`, which every tf.test.TestCase inherits and skips."""
    items[:] = [item for item in items if item.name != "test_session"]
