"""What several test files share: a small checkpoint with random weights."""

import shutil

import pytest


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
