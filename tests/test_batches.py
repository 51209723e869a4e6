"""What a batch drawn from the world holds: its stream, its shares and places, and the dense targets of the backbone."""

import dataclasses
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("transformers", reason="training needs transformers")


import tvau_runtime
from tvau_runtime.backends.base import ModelSpec
from tvau_runtime.manifest import CLIP_MEAN, CLIP_STD
from tvau_runtime.tokenizer import TextTokenizer
from tvau_training import batches as batches_module
from tvau_training.batches import PLACES_AT_ONCE, POSE, Batch, ClipData, _pose, batches
from tvau_training.guidance import naming
from tvau_training.recipe import read_recipe
from tvau_training.stages import most_done
from tvau_training.world import BAGS, BODY, COLORS, TROUSER_COLORS

TOKENIZER = Path(tvau_runtime.__file__).parent / "assets/tvau-tiny/tokenizer.json"
FIELDS = [field.name for field in dataclasses.fields(Batch)]


@pytest.fixture(scope="module")
def spec():
    return ModelSpec("mini", (28, 56), 4.0, 4, CLIP_MEAN, CLIP_STD, 24, 2.0)


def test_the_worlds_stream_is_as_it_was():
    """What a seed draws may not change from one version to the next."""
    recipe = read_recipe("tiny")
    spec = ModelSpec("x", recipe.image_size, 4.0, recipe.clip_length, CLIP_MEAN, CLIP_STD, 192, 2.0)
    known = {
        (2, 0): ("3c95abdebfdc", "64d0f49a3f6c", "81b765ce0562", "d7e0c0e908bd"),
        (3, 4): ("25cd1e9b14f6", "6cf78ecd3630", "8cd41bcf8dfd", "62aadb120474"),
    }
    for (series, refine_from), digests in known.items():
        data = ClipData(recipe, spec, TOKENIZER, series=series, refine_from=refine_from, narration_turns=5)
        (batch,) = next(batches(data, 2, 1, 4, 0))
        drawn = (batch.kinds, batch.words, batch.dialogue, batch.imagined)
        assert tuple(hashlib.sha256(t.numpy().tobytes()).hexdigest()[:12] for t in drawn) == digests


def test_shares_and_pieces_of_a_batch_make_the_whole():
    class Numbers(torch.utils.data.Dataset):
        def __getitem__(self, index):
            return tuple(np.full(1, index) for _ in FIELDS)

    def drawn(**given):
        return [[piece.pixels.flatten().tolist() for piece in step] for step in batches(Numbers(), 8, 1, 3, 0, **given)]

    assert drawn() == [[list(range(8, 16))], [list(range(16, 24))]]
    assert drawn(share=(1, 2), pieces=2) == [[[9, 11], [13, 15]], [[17, 19], [21, 23]]]


def test_the_clips_of_a_batch_lie_in_places_that_are_all_drawn_from_equally_often():
    places = [batches_module._place(index, 4) for index in range(128)]
    for first in range(0, 128, PLACES_AT_ONCE):
        assert len(set(places[first : first + PLACES_AT_ONCE])) == PLACES_AT_ONCE
    assert set(Counter(places).values()) == {4}
    assert all(place <= index for index, place in enumerate(places)), "a place is called by the first item in it"


def test_a_pose_is_told_in_body_heights_and_from_left_to_right():
    still = np.zeros((2, len(BODY), 2), np.float32)
    still[:, BODY.index("head")] = (0, -40)
    still[:, BODY.index("hand_l")], still[:, BODY.index("hand_r")] = (12, 0), (-8, 0)
    still += (200, 100)
    moved = still + [[[0, 0]], [[16, -8]]]
    first, other = _pose(still, 80.0), _pose(moved, 80.0)
    assert first.shape == (POSE,)
    assert first[:2].tolist() == [0, 0] and other[:2].tolist() == [1, -0.5], "by a fifth of 80 pixels"
    np.testing.assert_allclose(first[2:], other[2:], atol=1e-6)
    assert first[2:8].tolist() == [0, -2.5, -0.5, 0, 0.75, 0], "head, left hand in the picture, right hand"
    mirrored = still * (-1, 1) + (400, 0)
    np.testing.assert_allclose(_pose(mirrored, 80.0)[4:8], [-0.75, 0, 0.5, 0], atol=1e-6)
    np.testing.assert_allclose(_pose(still * 2, 160.0), first, atol=1e-6)


def test_what_people_do_is_a_dense_target_of_the_backbone(spec):
    recipe = dataclasses.replace(
        read_recipe("tiny"), image_size=(56, 112), render_size=(72, 144), clip_length=4, clips_per_place=1
    )
    spec = dataclasses.replace(spec, image_size=(56, 112))
    data = ClipData(recipe, spec, TOKENIZER, series=0, refine_from=9, narration_turns=1)
    names = naming()
    (batch,) = next(batches(data, 6, 0, 1, 0))
    found = most_done(torch.from_numpy(names.kind_of)[batch.deeds.long()], int(names.kind_of.max()) + 1)
    assert found.shape == batch.kinds.shape and len(found.unique()) > 3
    columns = spec.grid[1]
    for clip, step, patch in np.ndindex(*batch.kinds.shape):
        row, column = divmod(patch, columns)
        cells = batch.deeds[clip, step, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].flatten().tolist()
        counts = Counter(int(names.kind_of[cell]) for cell in cells if names.kind_of[cell])
        most = max(counts.values(), default=0)
        assert int(found[clip, step, patch]) in ([k for k, n in counts.items() if n == most] or [0])
    people = batch.kinds == 1
    assert batch.pose[people].isfinite().all(dim=-1).float().mean() > 0.95
    assert not batch.pose[batch.kinds == 0].isfinite().any()
    assert batch.pose[people].abs().max() <= 10


def test_how_those_who_are_seen_look_is_a_target_of_every_visual_token(spec):
    recipe = dataclasses.replace(read_recipe("tiny"), clips_per_place=1)
    spec = dataclasses.replace(spec, image_size=recipe.image_size)
    data = ClipData(recipe, spec, TOKENIZER, series=0, refine_from=9, narration_turns=1, frames=2)
    tokenizer = TextTokenizer(TOKENIZER)
    (batch,) = next(batches(data, 6, 0, 1, 0))
    looks = batch.looks.flatten(0, 2)
    assert batch.looks.shape == (*batch.words.shape[:3], 3) and looks.amin() == -1
    assert [looks[:, i].amax() < n for i, n in enumerate((len(COLORS), len(TROUSER_COLORS), len(BAGS) + 1))] == [
        True
    ] * 3
    told = 0
    for words, (color, trousers, bag) in zip(batch.words.flatten(0, 2).tolist(), looks.tolist(), strict=True):
        text = tokenizer.decode([word for word in words if word >= 0]).split()
        assert (bag >= 0) or (trousers < 0)
        assert (color >= 0) or (trousers < 0)  # a person in a picture without colours, or under a skirt
        if color >= 0:
            assert text[0] == COLORS[color]
        told += trousers >= 0
    assert told > 10
