"""The annotator in this process: any Qwen2.5-VL checkpoint, by transformers' own processor, chat template and `generate`.

Works without torchvision, which the library's full processor asks for only because of videos. Imports torch when it is opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tvau_runtime.errors import BackendError, ModelError

from .annotator import Reply, Request

__all__ = ["LocalAnnotator"]

NEEDED = ("config.json", "preprocessor_config.json", "tokenizer.json")


class LocalAnnotator:
    """A model on this machine.

    directory: a transformers checkpoint with tokenizer, chat template and image processor, as it is published. device: cpu, cuda,
    cuda:1 or auto. batch: frames at once. Raises `ModelError` for a directory that is no such checkpoint, `BackendError` without
    transformers or the device.
    """

    concurrency = 1

    def __init__(
        self,
        directory: Path,
        *,
        device: str = "auto",
        batch: int = 4,
        max_tokens: int = 2048,
        temperature: float = 0.0,
    ) -> None:
        if missing := [name for name in NEEDED if not (directory / name).is_file()]:
            raise ModelError(f"{directory} is no Qwen2.5-VL checkpoint as it is published: no {', '.join(missing)}")
        try:
            import torch
            from transformers import Qwen2_5_VLForConditionalGeneration
        except ImportError as error:
            raise BackendError(f"annotating on this machine needs transformers and torch: {error}") from error
        self.device = _device(device)
        try:
            self.processor = _processor(directory)
            kind = "auto" if self.device.startswith("cuda") else torch.float32
            model: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(directory, dtype=kind)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(f"{directory} cannot be loaded as Qwen2.5-VL: {error}") from error
        if not self.processor.chat_template:
            raise ModelError(f"{directory} has no chat template (chat_template.jinja, or in tokenizer_config.json)")
        self.model = model.to(self.device).eval()
        self.batch, self.max_tokens, self.temperature = batch, max_tokens, temperature
        self.identity = f"{directory.name} {_fingerprint(directory)} {max_tokens} {temperature}"

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        import torch

        texts = [
            self.processor.apply_chat_template(
                [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": request.prompt}]}],
                tokenize=False,
                add_generation_prompt=True,
            )
            for request in requests
        ]
        inputs = self.processor(
            text=texts, images=[r.image for r in requests], padding=True, padding_side="left", return_tensors="pt"
        ).to(self.device)
        drawing = {"do_sample": True, "temperature": self.temperature}
        greedy = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        pad = self.processor.tokenizer.pad_token_id
        try:
            with torch.inference_mode():
                out = self.model.generate(
                    **inputs,
                    max_new_tokens=self.max_tokens,
                    pad_token_id=pad,
                    **(drawing if self.temperature else greedy),
                )
        except torch.cuda.OutOfMemoryError as error:
            raise BackendError(
                f"the GPU has no room for {len(requests)} frames at once; lower --batch or --max-pixels"
            ) from error
        ends = self.model.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends])
        replies = []
        for row, mask in zip(out[:, inputs["input_ids"].shape[1] :].tolist(), inputs["attention_mask"], strict=True):
            stop = next((i for i, token in enumerate(row) if token in ends), None)
            said = row if stop is None else row[:stop]
            text = self.processor.tokenizer.decode(said, skip_special_tokens=True)
            replies.append(Reply(text, int(mask.sum()), len(said), cut=stop is None))
        return replies

    def close(self) -> None:
        """Nothing to break off: `generate` ends by itself."""


def _fingerprint(directory: Path) -> str:
    """Hash of the model's settings and of samples of its weights: reading all of them would take minutes."""
    digest = hashlib.sha256()
    for name in NEEDED:
        digest.update((directory / name).read_bytes())
    for path in sorted(directory.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            for part in range(8):
                file.seek(size * part // 8)
                digest.update(file.read(1 << 16))
    return digest.hexdigest()


def _device(wanted: str) -> str:
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise BackendError(f"there is no device {wanted!r} here: {error}") from error
    return wanted


def _processor(directory: Path) -> Any:
    """Image processor and tokenizer as one, as the library has it or, without torchvision, the part of it that needs none."""
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer, Qwen2_5_VLProcessor
    from transformers.processing_utils import ProcessorMixin

    try:
        return AutoProcessor.from_pretrained(directory)
    except ImportError:
        pass

    class ImageTextProcessor(Qwen2_5_VLProcessor):
        """The library's processor without its video processor."""

        def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None) -> None:
            self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
            self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
            self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
            ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    tokenizer = AutoTokenizer.from_pretrained(directory)
    images = AutoImageProcessor.from_pretrained(directory, backend="pil")
    return ImageTextProcessor(images, tokenizer, tokenizer.chat_template)
