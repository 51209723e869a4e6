"""The annotator in this process, on a checkpoint with random weights."""

import json

import numpy as np
import pytest

pytest.importorskip("json_repair", reason="the annotation pipeline is not installed")
pytest.importorskip("PIL", reason="transformers' image processor needs pillow")
torch = pytest.importorskip("torch", reason="the torch engine is not installed")
transformers = pytest.importorskip("transformers", reason="the torch engine is not installed")

from tvau_runtime.errors import BackendError, ModelError
from tvau_training.annotate.annotator import Request
from tvau_training.annotate.answers import AnswerCache, Asker
from tvau_training.annotate.extraction import Extractor, Sample
from tvau_training.annotate.local import LocalAnnotator

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A Qwen2.5-VL checkpoint as transformers writes it, with random weights."""
    from tvau_training.backbone_size import BackboneSize, new_backbone
    from tvau_training.text import train_tokenizer

    directory = tmp_path_factory.mktemp("published")
    train_tokenizer(['{"targets": [{"category": "person"}]}'], 300, directory / "tokenizer.json")
    torch.manual_seed(0)
    model = new_backbone(BackboneSize(2, 32, 2, 48, 2, 48, 3, 1, 64, 512), directory / "tokenizer.json")
    with torch.no_grad():  # the usual small weights say the same of everything
        for weights in model.parameters():
            weights.mul_(1 if weights.ndim < 2 else 10)
    model.save_pretrained(directory)  # type: ignore[operator]
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(directory / "tokenizer.json"), eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(directory)
    images = {
        "image_processor_type": "Qwen2VLImageProcessor", "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2,
        "min_pixels": 3136, "max_pixels": 12845056, "image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28],
    }  # fmt: skip
    (directory / "preprocessor_config.json").write_text(json.dumps(images))
    return directory


@pytest.fixture(scope="module")
def annotator(published):
    return LocalAnnotator(published, device="cpu", batch=3, max_tokens=12)


def request(seed, prompt, size=(56, 84)):
    return Request(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8), prompt)


def test_a_batch_is_answered_as_each_by_itself(annotator):
    asked = [request(0, "person"), request(1, "a much longer question about persons"), request(2, "a", (84, 56))]
    together = annotator.answer(asked)
    assert together == [annotator.answer([each])[0] for each in asked]
    assert len({reply.text for reply in together}) > 1
    assert all(reply.output_tokens == 12 and reply.cut for reply in together)
    assert together[1].input_tokens > together[0].input_tokens


def test_an_end_of_turn_ends_the_answer(annotator, monkeypatch):
    (whole,) = annotator.answer([request(0, "person")])
    tokenizer = annotator.processor.tokenizer
    ends = [i for i in range(len(tokenizer)) if tokenizer.decode([i]) in whole.text]  # those that it says
    monkeypatch.setattr(annotator.model.generation_config, "eos_token_id", ends)
    (ended,) = annotator.answer([request(0, "person")])
    assert not ended.cut and ended.output_tokens < whole.output_tokens and whole.text.startswith(ended.text)


def test_the_pipeline_takes_it_as_any_other(annotator, tmp_path):
    extractor = Extractor(Asker(annotator, AnswerCache(tmp_path)), max_pixels=56 * 84, attempts=2)
    samples = [Sample(i, i / 4, np.full((60, 90, 3), 20 * i, np.uint8)) for i in range(5)]
    found = list(extractor.extract(iter(samples)))
    extractor.close()
    assert [each.frame for each in found] == list(range(5))
    assert {each.set_aside for each in found} == {"cut off"} and {each.attempts for each in found} == {2}
    assert extractor.asker.cost.asked == 10


def test_what_determines_answers_is_its_identity(published, annotator, tmp_path):
    assert LocalAnnotator(published, device="cpu", max_tokens=12).identity == annotator.identity
    assert LocalAnnotator(published, device="cpu", max_tokens=13).identity != annotator.identity


def test_what_is_no_checkpoint(published, tiny, tmp_path):
    with pytest.raises(ModelError, match=r"preprocessor_config\.json"):
        LocalAnnotator(tiny)
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((published / name).read_bytes())
    with pytest.raises(ModelError, match="cannot be loaded"):
        LocalAnnotator(tmp_path, device="cpu")
    with pytest.raises(BackendError, match="no device 'cuda:99'"):
        LocalAnnotator(published, device="cuda:99")
