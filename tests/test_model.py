"""The torch model against transformers' own code, the paper's sizes, and slow obvious versions of each equation."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch engine is not installed")
transformers = pytest.importorskip("transformers", reason="the torch engine is not installed")

from tiny_checkpoint import make_tiny_checkpoint

from tvau_runtime.backends import open_backend
from tvau_runtime.chat import HEAD, TAIL, mrope_positions
from tvau_runtime.config import EngineConfig
from tvau_runtime.errors import ConfigError, ModelError
from tvau_runtime.model import checkpoint
from tvau_runtime.model.anomaly_heatmap_decoder import AnomalyHeatmapDecoder, heatmap
from tvau_runtime.model.backbone import default_taps
from tvau_runtime.model.region_anomaly_encoder import REGIONS, RegionAnomalyEncoder, _shares
from tvau_runtime.model.text_decoder import TextDecoder
from tvau_runtime.prompts import Prompts

GEOMETRIES = [
    # depth, taps, image size: the paper's depth; a window grid that tiles exactly; two that do not
    (32, (1, 8, 16, 32), (112, 112)),
    (8, (1, 2, 4, 8), (168, 224)),
    (4, (1, 2, 4), (56, 84)),
    (2, (1, 2), (252, 308)),
]


@pytest.mark.parametrize(("depth", "taps", "size"), GEOMETRIES)
def test_features_equal_those_of_transformers(tmp_path, depth, taps, size):
    model, _, _ = checkpoint.load(make_tiny_checkpoint(tmp_path, depth=depth, image_size=size, lora=False))
    rows, columns = model.backbone.grid
    count = 3
    pixels = torch.randn(count, rows * columns, 1176, generator=torch.Generator().manual_seed(1))
    tapped, tokens = model.backbone.encode(pixels)

    tower = model.backbone.model.model.visual
    seen = []
    handles = [block.register_forward_hook(lambda _m, _i, out: seen.append(out)) for block in tower.blocks]
    slow = tower(pixels.flatten(0, 1), grid_thw=torch.tensor([[count, rows, columns]]))
    for handle in handles:
        handle.remove()

    assert model.backbone.taps == taps
    torch.testing.assert_close(tokens.flatten(0, 1), slow.pooler_output, atol=1e-5, rtol=1e-4)
    for tap, fast in zip(taps, tapped, strict=True):
        # undo the library's window order, then its 2 x 2 groups
        order = torch.argsort(_window_order(rows, columns, count))
        groups = seen[tap - 1].reshape(len(order), 4, -1)[order]
        raster = groups.reshape(count, rows // 2, columns // 2, 2, 2, -1).permute(0, 1, 3, 2, 4, 5)
        torch.testing.assert_close(fast, raster.reshape(fast.shape), atol=2e-5, rtol=1e-4)


def _window_order(rows, columns, count):
    """Merged tokens of `count` temporal patches in the order of 4 x 4 windows, one loop after the other."""
    height, width, order = rows // 2, columns // 2, []
    for step in range(count):
        for top in range(0, height, 4):
            for left in range(0, width, 4):
                for row in range(top, min(top + 4, height)):
                    for column in range(left, min(left + 4, width)):
                        order.append(step * height * width + row * width + column)
    return torch.tensor(order)


def test_a_temporal_patch_alone_gives_what_the_whole_clip_gives(tiny):
    engine = open_backend(EngineConfig(model=str(tiny)))
    pixels = np.random.default_rng(0).normal(size=(4, 24, 1176)).astype(np.float32)
    tokens, maps = engine.encode(pixels)
    for index in range(4):
        one_tokens, one_maps = engine.encode(pixels[index : index + 1])
        np.testing.assert_allclose(one_tokens[0], tokens[index], atol=1e-5)
        np.testing.assert_allclose(one_maps[0], maps[index], atol=1e-5)


@pytest.mark.parametrize(
    ("depth", "taps"),
    [(32, (1, 8, 16, 32)), (8, (1, 2, 4, 8)), (12, (1, 3, 6, 12)), (1, (1,))],
)
def test_taps_scale_with_depth(depth, taps):
    assert default_taps(depth) == taps


def test_parameter_counts_of_the_7b_sizes_come_out_near_the_papers():
    with torch.device("meta"):
        ahd, rae = AnomalyHeatmapDecoder(1280, 3584, 4), RegionAnomalyEncoder(3584)
    counts = [sum(p.numel() for p in module.parameters()) / 1e6 for module in (ahd, rae)]
    assert counts[0] == pytest.approx(24.96, abs=0.01)
    assert counts[1] == pytest.approx(24.97, abs=0.1)


def test_heat_maps_follow_the_equations_one_position_at_a_time():
    torch.manual_seed(0)
    decoder = AnomalyHeatmapDecoder(6, 5, 2)
    tapped, text = [torch.randn(2, 6, 6), torch.randn(2, 6, 6)], torch.randn(2, 5)
    fast = decoder(tapped, text, (2, 3))
    for step in range(2):
        for row in range(2):
            for column in range(3):
                for category in range(2):
                    slow = sum(
                        weight * torch.cosine_similarity(project(v[step, row * 3 + column]), text[category], dim=0)
                        for weight, project, v in zip(decoder.weights, decoder.projections, tapped, strict=True)
                    )
                    torch.testing.assert_close(fast[step, category, row, column], slow, atol=1e-5, rtol=1e-5)
    probability = torch.exp(fast[:, 1]) / (torch.exp(fast[:, 0]) + torch.exp(fast[:, 1]))
    torch.testing.assert_close(heatmap(fast), probability)


def test_calibrated_weights_let_close_text_vectors_differ_by_ten():
    torch.manual_seed(0)
    decoder, base = AnomalyHeatmapDecoder(6, 5, 4), torch.randn(5)
    text = torch.stack([base, base + 0.02 * torch.randn(5)])
    decoder.calibrate(text)
    apart = torch.nn.functional.normalize(text, dim=-1).diff(dim=0).norm()
    assert float(decoder.weights.detach().sum() * apart) == pytest.approx(10.0, rel=1e-4)


def test_a_new_center_sets_prompts_apart_and_leaves_the_models_own_maps_about_as_they_were():
    torch.manual_seed(0)
    decoder, tapped = AnomalyHeatmapDecoder(6, 64, 2), [torch.randn(3, 6, 6) for _ in range(2)]
    base = 5 * torch.nn.functional.normalize(torch.randn(64), dim=0)
    text, other = base + 0.02 * torch.randn(2, 64), base + 0.02 * torch.randn(64)
    decoder.calibrate(text)
    before = decoder(tapped, text, (2, 3))
    decoder.recenter(text)
    after = decoder(tapped, text, (2, 3))
    normal, abnormal, third = torch.nn.functional.normalize(torch.stack([*text, other]) - decoder.center, dim=-1)
    assert float(normal @ abnormal) == pytest.approx(-1.0, rel=1e-4)
    assert abs(float(normal @ third)) < 0.8, "its cosine was above 0.99"
    torch.testing.assert_close(after.diff(dim=1), before.diff(dim=1), atol=0.4, rtol=0.1)


def test_prompts_of_each_patch_are_as_if_it_were_alone():
    torch.manual_seed(0)
    decoder, tapped = AnomalyHeatmapDecoder(6, 5, 2), [torch.randn(3, 6, 6) for _ in range(2)]
    text = torch.randn(3, 2, 5)
    decoder.recenter(text[0])
    together = decoder(tapped, text, (2, 3))
    alone = [decoder([tap[n : n + 1] for tap in tapped], text[n], (2, 3)) for n in range(3)]
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("grid", [(10, 18), (16, 28), (18, 32), (2, 3), (3, 3), (4, 17)])
def test_regions_are_pooled_as_adaptive_pooling_divides_them(grid):
    features = torch.randn(2, 4, *grid, generator=torch.Generator().manual_seed(0))
    rows, columns = (_shares(side, features) for side in grid)
    expected = torch.nn.functional.adaptive_avg_pool2d(features, REGIONS)
    torch.testing.assert_close(rows @ features @ columns.T, expected)


def test_anomaly_prompts_have_the_papers_layout():
    torch.manual_seed(0)
    encoder = RegionAnomalyEncoder(8, (4, 4, 4), 16)
    maps = torch.randn(2, 5, 2, 6, 7)
    prompts = encoder(maps)
    assert prompts.shape == (2, 4 * 20, 8)
    steps = prompts.reshape(2, 4, 20, 8)
    torch.testing.assert_close(steps[:, :, :10], encoder.base.expand(2, 4, 10, 8))
    # only differences count: a constant added to every step changes nothing, and a step alone can be computed alone
    torch.testing.assert_close(encoder(maps + 3.0), prompts, atol=1e-5, rtol=1e-4)
    both = torch.randn(2, 5, 1, 6, 7)  # nor does what both classes share
    torch.testing.assert_close(encoder(maps + both), prompts, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encoder(maps[:, 1:3]), steps[:, 1], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="at least two"):
        encoder(maps[:, :1])


def test_text_features_average_all_tokens_of_all_prompts(tiny):
    model, manifest, tokenizer = checkpoint.load(tiny)
    table = model.backbone.model.get_input_embeddings().weight
    rows = [table[number] for text in manifest.prompts.texts("abnormal") for number in tokenizer.encode(text)]
    torch.testing.assert_close(
        checkpoint.text_features(model, tokenizer, manifest.prompts)[1],
        torch.stack(rows).mean(dim=0),
    )


def test_rotary_positions_of_a_written_out_example():
    # two text tokens; a video of 2 steps of 2 x 3 merged tokens, half a second apart, two units a second; two more tokens
    expected = [
        [0, 1] + [2] * 6 + [3] * 6 + [5, 6],
        [0, 1] + [2, 2, 2, 3, 3, 3] * 2 + [5, 6],
        [0, 1] + [2, 3, 4] * 4 + [5, 6],
    ]
    positions = mrope_positions(2, (2, 2, 3), 2, seconds_per_step=0.5, tokens_per_second=2)
    assert positions.tolist() == expected
    with pytest.raises(ConfigError, match="at least 1 x 1 x 1"):
        mrope_positions(0, (0, 2, 2), 1, seconds_per_step=1, tokens_per_second=2)


def test_generation_equals_that_of_transformers_given_the_same_positions(tiny):
    model, _, tokenizer = checkpoint.load(tiny)
    generator = torch.Generator().manual_seed(3)
    visual, maps = (
        torch.randn(2, 3, 6, 48, generator=generator),
        torch.randn(2, 3, 2, 4, 6, generator=generator),
    )
    head, tail = (
        torch.tensor(tokenizer.encode(HEAD)),
        torch.tensor(tokenizer.encode(TAIL)),
    )
    question = torch.tensor([tokenizer.encode("what is it?")] * 2)
    prompt = model.prompt(head, visual, tail, maps, question)
    after = prompt.shape[1] - len(head) - 3 * 6
    assert after == len(tail) + 2 * 20 + question.shape[1]
    positions = model.positions(len(head), 3, after, 4.0)
    stop = tokenizer.token_id("<|im_end|>")
    ours = model.generate(prompt, positions, stop, 8)
    theirs = model.backbone.model.generate(
        inputs_embeds=prompt,
        position_ids=positions.expand(3, 2, -1),
        attention_mask=torch.ones(prompt.shape[:2], dtype=torch.long),
        max_new_tokens=8,
        do_sample=False,
        eos_token_id=stop,
        pad_token_id=stop,
    )
    for mine, other in zip(ours, theirs.tolist(), strict=True):
        assert mine == (other[: other.index(stop)] if stop in other else other)


def test_cached_decoding_equals_recomputing_and_a_cropped_cache_leaves_the_first_alone(
    tiny,
):
    engine = open_backend(EngineConfig(model=str(tiny)))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 48)).astype(np.float32)
    positions = np.broadcast_to(np.arange(9), (3, 9))
    whole, _ = engine.decode(x, positions)
    _, cache = engine.decode(x[:5], positions[:, :5])
    prefix = engine.crop(cache, 3)
    grown, _ = engine.decode(x[5:], positions[:, 5:], cache)
    np.testing.assert_allclose(grown, whole, atol=1e-4)
    from_prefix, _ = engine.decode(x[3:], positions[:, 3:], engine.crop(prefix, 3))
    again, _ = engine.decode(x[3:], positions[:, 3:], prefix)
    np.testing.assert_allclose(from_prefix, whole, atol=1e-4)
    np.testing.assert_allclose(again, whole, atol=1e-4)


def test_the_text_decoder_equals_the_librarys_pass_and_caches_share_what_they_begin_with(tiny):
    model, _, _ = checkpoint.load(tiny)
    language = model.backbone.model.model.language_model
    decoder, generator = TextDecoder(language, model.backbone.model.lm_head), torch.Generator().manual_seed(0)
    x = torch.randn(600, model.backbone.text_dim, generator=generator)
    positions = torch.stack([torch.arange(600), torch.arange(600) // 3, torch.arange(600) % 4])

    def library(*parts):
        chosen = torch.cat([torch.arange(part.start, part.stop) for part in parts])
        hidden, _ = model.backbone.language(x[None, chosen], positions[:, None, chosen])
        return model.backbone.logits(hidden[0, -1])

    def check(cache, *parts):
        logits = decoder(x[parts[-1]], positions[:, parts[-1]], cache)
        torch.testing.assert_close(logits, library(*parts), atol=2e-5, rtol=1e-4)

    with torch.no_grad():
        first = decoder.new_cache()
        begin, one, many = slice(0, 6), slice(6, 7), slice(7, 300)
        check(first, begin)
        shorter, same, other = first.crop(4), first.crop(6), first.crop(9)
        check(first, begin, one)
        check(first, begin, one, many)  # more than there was room for
        check(same, begin, slice(300, 310))
        check(shorter, slice(0, 4), slice(310, 320))
        check(other, begin, slice(320, 321))
        check(first, begin, one, many, slice(400, 402))
        check(other, begin, slice(320, 321), slice(330, 600))
    assert (first.length, same.length, shorter.length) == (302, 16, 14)


def test_a_cache_grows_in_place_for_the_first_and_copies_for_the_next(tiny):
    model, _, _ = checkpoint.load(tiny)
    decoder = TextDecoder(model.backbone.model.model.language_model, model.backbone.model.lm_head)
    cache = decoder.new_cache()
    begin = cache.extend(8).data_ptr()
    fork, other = cache.crop(8), cache.crop(8)
    assert fork.extend(3).data_ptr() == fork.extend(1).data_ptr() == begin
    assert other.extend(1).data_ptr() != begin
    assert cache.length == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_sliding_window": True}, "use_sliding_window is not supported"),
        ({"rope_parameters": {}}, "names no mrope_section"),
        ({"rope_parameters": {"mrope_section": [1, 1, 1]}}, "must sum to half of the head's 16"),
    ],
)
def test_a_language_model_that_cannot_be_run_is_refused_by_the_field(tiny, changes, message):
    language = checkpoint.load(tiny)[0].backbone.model.model.language_model
    for name, value in changes.items():
        setattr(language.config, name, value)
    with pytest.raises(ModelError, match=message):
        TextDecoder(language, None)


def test_prompts_can_be_replaced_at_run_time(tiny):
    engine = open_backend(EngineConfig(model=str(tiny)))
    pixels = np.random.default_rng(0).normal(size=(1, 24, 1176)).astype(np.float32)
    _, before = engine.encode(pixels)
    text = engine.text_features(Prompts(("a red car",), ("person running", "fire")))
    _, changed = engine.encode(pixels, text)
    assert np.abs(changed - before).max() > 1e-3
    _, mirrored = engine.encode(pixels, text[::-1].copy())
    np.testing.assert_allclose(mirrored[:, ::-1], changed, atol=1e-5)
    _, both = engine.encode(np.concatenate([pixels, pixels]), np.stack([text, text[::-1]]))
    np.testing.assert_allclose(both, np.concatenate([changed, mirrored]), atol=1e-5)
    own = engine.text_features(engine.prompts)
    np.testing.assert_array_equal(engine.encode(pixels, own)[1], before)


def test_the_language_models_adapter_is_merged_on_loading(tmp_path):
    with_adapter = make_tiny_checkpoint(tmp_path / "with")
    without = make_tiny_checkpoint(tmp_path / "without", lora=False)
    x, positions = np.ones((4, 48), np.float32), np.broadcast_to(np.arange(4), (3, 4))
    logits = [open_backend(EngineConfig(model=str(d))).decode(x, positions)[0] for d in (with_adapter, without)]
    assert np.abs(logits[0] - logits[1]).max() > 1e-3


def _edit(directory, **changes):
    import json

    path = directory / "tvau.json"
    values = json.loads(path.read_text())
    values.update(changes)
    values["files"] = {}
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"taps": [1, 9]}, "taps"),
        ({"taps": []}, "taps"),
        ({"taps": [1, 2]}, "ahd.safetensors: tensor projections.2"),
        ({"taps": [2, 1]}, "taps must be ascending"),
        ({"image_size": [60, 84]}, "image_size must be multiples of 28"),
        ({"image_size": [56]}, "image_size"),
        ({"clip_length": 7}, "clip_length"),
        ({"process_rate_hz": "fast"}, "process_rate_hz"),
        ({"std": [1, 0, 1]}, "std"),
        ({"rae_conv_widths": [8, 4, 4]}, "rae.safetensors: tensor backbone.0"),
        ({"prompts": {"normal": [], "abnormal": ["x"]}}, "normal prompts"),
        ({"format": 99}, "format must be 1"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"backbone": "no/such-directory"}, "backbone: no/such-directory"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_the_field(tiny_copy, changes, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    _edit(tiny_copy, **changes)
    with pytest.raises(ModelError, match=message):
        checkpoint.load(tiny_copy)


def test_a_damaged_or_missing_file_is_refused_by_name(tiny_copy):
    path = tiny_copy / "rae.safetensors"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"rae\.safetensors is damaged"):
        checkpoint.load(tiny_copy)
    path.write_bytes(good[:100])
    with pytest.raises(ModelError, match=r"rae\.safetensors is not a readable"):
        checkpoint.load(tiny_copy, verify=False)
    path.unlink()
    with pytest.raises(ModelError, match=r"rae\.safetensors is missing"):
        checkpoint.load(tiny_copy)


def test_a_model_that_is_not_there_is_named():
    with pytest.raises(ModelError, match="there is no model 'nothing'"):
        open_backend(EngineConfig(model="nothing"))


def test_a_device_that_is_not_there_is_named(tiny):
    with pytest.raises(ConfigError, match="device must be"):
        open_backend(EngineConfig(model=str(tiny), device="toaster"))


def test_an_adapter_without_its_weights_is_refused(tiny_copy):
    from safetensors.torch import load_file, save_file

    path = tiny_copy / "lora" / "adapter_model.safetensors"
    weights = load_file(path)
    weights.pop(min(weights))
    save_file(weights, path)
    with pytest.raises(ModelError, match=r"lora: the adapter .* lacks tensor"):
        checkpoint.load(tiny_copy, verify=False)
