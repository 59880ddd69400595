"""What all tests share."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_collection_modifyitems(items):
    """Leaves out `test_session`, which every tf.test.TestCase inherits and skips."""
    items[:] = [item for item in items if item.name != "test_session"]
