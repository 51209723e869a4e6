"""What several test files share: a ROS domain of their own, no network, and a small checkpoint with random weights."""

import os
import random
import shutil

import pytest

# Before anything is imported that reads these: no test run hears another one, or asks the network.
os.environ.setdefault("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 101)))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A checkpoint directory with random weights (4 vision blocks, 56 x 84 pixels). Nobody may change it."""
    pytest.importorskip("torch", reason="the torch engine is not installed")
    pytest.importorskip("transformers", reason="the torch engine is not installed")
    from tiny_checkpoint import make_tiny_checkpoint

    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny_copy(tiny, tmp_path):
    """A copy of the `tiny` checkpoint that a test may damage."""
    return shutil.copytree(tiny, tmp_path / "copy")
