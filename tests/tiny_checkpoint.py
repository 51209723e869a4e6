"""A small checkpoint with random weights: the real architecture, every part of it, in a few megabytes."""

from __future__ import annotations

from pathlib import Path

DEFAULT_NORMAL, DEFAULT_ABNORMAL = ("person walking",), ("person running", "vehicle on the walkway")


def make_tiny_checkpoint(
    directory: Path, *, depth: int = 4, seed: int = 0, image_size=(56, 84), lora: bool = True
) -> Path:
    """Writes a checkpoint of `depth` vision blocks into a directory and returns it. Same arguments, same weights."""
    import torch

    from tvau_runtime.calibration import Calibration, Scale
    from tvau_runtime.manifest import Manifest
    from tvau_runtime.model import checkpoint
    from tvau_runtime.model.backbone import default_taps
    from tvau_runtime.prompts import Prompts
    from tvau_training.backbone_size import BackboneSize, new_backbone
    from tvau_training.text import train_tokenizer

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    corpus = [
        "Is there any anomaly in the video? Yes. No.",
        *DEFAULT_NORMAL,
        *DEFAULT_ABNORMAL,
        "a red car from the left to the right",
    ]
    train_tokenizer(corpus, 300, directory / "tokenizer.json")
    size = BackboneSize(
        vision_depth=depth,
        vision_hidden=32,
        vision_heads=2,
        vision_mlp=48,
        text_layers=2,
        text_hidden=48,
        text_heads=3,
        text_kv_heads=1,
        text_mlp=64,
        vocabulary=512,
    )
    backbone = new_backbone(size, directory / "tokenizer.json")
    manifest = Manifest(
        name="random",
        prompts=Prompts(DEFAULT_NORMAL, DEFAULT_ABNORMAL),
        image_size=image_size,
        process_rate_hz=4.0,
        clip_length=8,
        taps=default_taps(depth),
        calibration=Calibration(score=Scale(2.0)),
        rae_conv_widths=(4, 4, 4),
        rae_hidden=16,
    )
    model = checkpoint.build(manifest, backbone)
    if lora:
        from peft import LoraConfig, get_peft_model

        settings = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        with checkpoint.quiet():
            adapter = get_peft_model(model.backbone.model.model.language_model, settings)
        checkpoint.save_lora(adapter, directory)
        adapter.unload()
    checkpoint.save(model, manifest, directory / "tokenizer.json", directory)
    return directory
