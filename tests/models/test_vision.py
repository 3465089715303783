"""Image towers and teachers, and the vectors that are kept of them."""

import os

import numpy as np
import pytest
import torch
import transformers

from xltkit.models import checkpoints, vision
from xltkit.tasks import get, load

TEXTS = ["w", "a longer text of several words", "b"]
SMALL = {"hidden_size": 16, "intermediate_size": 16}
SMALL |= {"num_hidden_layers": 1, "num_attention_heads": 2}
VISION = SMALL | {"image_size": 32, "patch_size": 16}


@pytest.fixture(scope="module")
def rows():
    return load(get("captions"), "train", "en", 8)


def save_processor(folder):
    size = {"height": 32, "width": 32}
    processor = transformers.CLIPImageProcessor(size=size, do_center_crop=False)
    processor.save_pretrained(folder)


# One file for each set of inputs


def kept(folder, numbers, network="net"):
    """The vectors of some inputs, which say what input they are of; the inputs asked for."""
    asked = []

    def compute(batches):
        for indices in batches:
            asked.extend(indices)
            yield torch.tensor([[numbers[i], 0.1] for i in indices])

    return vision.kept(folder, [network], list(map(str, numbers)), compute), asked


def test_equal_inputs_are_computed_once_and_kept_in_half_precision(tmp_path):
    for numbers, computed in (([3, 5, 3], [0, 1]), ([3, 5, 5], [])):
        vectors, asked = kept(tmp_path, numbers)
        assert vectors[:, 0].tolist() == numbers and asked == computed
        assert vectors.dtype == np.float16 and vectors[0, 1] == np.float16(0.1)
    assert kept(tmp_path, [3, 5], "another net")[1] == [0, 1]


def test_a_torn_file_is_computed_again(tmp_path):
    kept(tmp_path, [1, 2])
    (torn,) = tmp_path.glob("vectors/*.npy")
    os.truncate(torn, torn.stat().st_size - 2)
    for computed in ([0, 1], []):
        vectors, asked = kept(tmp_path, [1, 2])
        assert vectors[:, 0].tolist() == [1, 2] and asked == computed


def test_what_does_not_fit_half_precision_is_kept_in_full_and_no_number_is_refused(tmp_path):
    assert kept(tmp_path, [1.0, 1e6])[0][:, 0].tolist() == [1.0, 1e6]
    with pytest.raises(ValueError, match="no finite number"):
        kept(tmp_path, [1.0, np.nan])
    assert len(list(tmp_path.glob("vectors/*.npy"))) == 1


# Towers


def test_features_are_the_means_of_the_network_computed_once(rows, tmp_path, monkeypatch):
    tower = vision.Tower("micro-vision").eval()
    with torch.inference_mode():
        hidden = tower.network(pixel_values=tower.pixels(rows["image"][:])).last_hidden_state
    twice = rows.select([*range(8), 0])
    features = vision.features("micro-vision", twice, tmp_path)
    assert features.dtype == np.float16
    assert features.shape == (9, vision.width("micro-vision")) == (9, 128)
    assert np.allclose(features[:8], hidden.mean((2, 3)).numpy(), atol=5e-3)
    assert np.array_equal(features[8], features[0])
    translated = load(get("captions"), "train", "qbe", 8)  # the same pictures
    monkeypatch.setattr(vision, "Tower", None)
    assert np.array_equal(vision.features("micro-vision", translated, tmp_path), features[:8])


def test_pixels_are_seen_without_a_network(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(vision, "Tower", None)
    features = vision.features("pixels", rows, tmp_path)
    assert features.shape == (8, vision.width("pixels")) == (8, 768)
    small = np.asarray(rows[3]["image"].resize((16, 16)), dtype=np.float32)
    assert np.allclose(features[3], small.ravel() / 127.5 - 1, atol=1e-3)
    assert features.min() >= -1 and features.max() <= 1


def test_a_vision_model_without_text_gives_the_mean_of_its_patches(rows, tmp_path):
    transformers.ViTModel(transformers.ViTConfig(**VISION)).save_pretrained(tmp_path)
    save_processor(tmp_path)
    tower = vision.Tower(str(tmp_path)).eval()
    pixels = tower.pixels(rows["image"][:2])
    with torch.inference_mode():
        hidden = tower.network(pixel_values=pixels).last_hidden_state
        assert hidden.ndim == 3 and torch.equal(tower(pixels), hidden.mean(1))


# Teachers


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_dual_encoder_gives_both_sides_of_one_space(kind, tokenizer, rows, tmp_path, monkeypatch):
    name = str(tmp_path / "dual")
    text = SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": 24}
    text |= {"bos_token_id": 0, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 1}
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, text_config=text, vision_config=VISION)
    transformers.AutoModel.from_config(config).save_pretrained(name)
    tokenizer.save_pretrained(name)
    save_processor(name)
    assert vision.tower_of(name) == name
    texts = vision.teacher_vectors(name, TEXTS, tmp_path)
    pictures = vision.features(name, rows, tmp_path)
    assert texts.shape == (3, pictures.shape[1]) and len(pictures) == 8
    # what stands beside a text in its batch must not be seen in its vector
    monkeypatch.setattr(vision, "BATCH", 1)
    assert np.allclose(vision.teacher_vectors(name, TEXTS, tmp_path / "alone"), texts, atol=2e-3)
    assert not np.allclose(texts[0], texts[2], atol=2e-3)


@pytest.mark.parametrize("name", [str(checkpoints.MICRO), "micro-vision"])
def test_what_has_no_text_tower_is_no_teacher(name, tmp_path):
    with pytest.raises(ValueError, match=f"'{name}' is no teacher, for it has no text tower"):
        vision.teacher_vectors(name, TEXTS, tmp_path)


def test_the_towers_of_the_shipped_clip_find_each_other(tmp_path):
    rows = load(get("captions"), "test", "en", 100).select(range(100))
    first = [texts[0] for texts in rows["texts"][:]]
    texts = vision.teacher_vectors("micro-clip", first, tmp_path).astype(float)
    images = vision.features(vision.tower_of("micro-clip"), rows, tmp_path).astype(float)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    assert ((texts @ images.T).argmax(1) == np.arange(100)).mean() > 0.9
