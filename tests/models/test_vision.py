"""Image towers, the vectors that are kept of them, and teachers."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    SiglipConfig,
    SiglipModel,
    ViTConfig,
    ViTModel,
)

from xltkit.data import loading as data
from xltkit.keys import file_digest
from xltkit.models import encoder, vision
from xltkit.studies import build_micro
from xltkit.tasks import get
from xltkit.tasks.base import TYPES

WORDS = ["w", "a longer text of several words", "b"]
SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
         "num_attention_heads": 2}  # fmt: skip
SEEN = SMALL | {"image_size": 32, "patch_size": 16}


@pytest.fixture(scope="module")
def rows():
    return data.load(get("captions"), "train", "en", 8)


@pytest.fixture
def looked(monkeypatch):
    """The number of pictures in each pass of a tower."""
    counts, real = [], vision.Tower.forward

    def forward(self, pixels):
        counts.append(len(pixels))
        return real(self, pixels)

    monkeypatch.setattr(vision.Tower, "forward", forward)
    return counts


def picture_processor():
    return CLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False)


def dual(kind, folder, tokenizer):
    """A CLIP or a SigLIP with random weights, with the tokenizer of the tiny encoder."""
    config, model, options = kind
    read = SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": 24}
    read |= {"bos_token_id": 0, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 1}
    torch.manual_seed(0)
    model(config(text_config=read, vision_config=SEEN, **options)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    picture_processor().save_pretrained(folder)
    return str(folder)


KINDS_OF_DUAL = [(CLIPConfig, CLIPModel, {"projection_dim": 12}), (SiglipConfig, SiglipModel, {})]


# --- vectors that are kept -----------------------------------------------------------------------


class Counted:
    """Vectors that say which input they are of, and which inputs were asked for."""

    def __init__(self, numbers):
        self.numbers = numbers
        self.asked = []

    def __call__(self, indices):
        self.asked += indices
        yield np.array([[self.numbers[i], 0.1] for i in indices], dtype=np.float32)


def test_equal_inputs_are_computed_once_and_kept_in_half_precision(tmp_path):
    compute = Counted([3, 5, 3, 3, 5])
    vectors = vision._kept(tmp_path, ["net"], list("ababa"), Counted([3, 5, 3, 5, 3]))
    assert vectors[:, 0].tolist() == [3, 5, 3, 5, 3]
    vectors = vision._kept(tmp_path, ["net"], list("abaab"), compute)  # the same pictures
    assert compute.asked == [] and vectors.dtype == np.float16
    assert vectors[:, 0].tolist() == [3, 5, 3, 3, 5] and vectors[0, 1] == np.float16(0.1)
    other = Counted([3, 5, 3])
    vision._kept(tmp_path, ["another net"], list("aba"), other)
    assert other.asked == [0, 1]


def test_a_torn_file_is_computed_again(tmp_path):
    vision._kept(tmp_path, ["net"], list("ab"), Counted([1, 2]))
    (torn,) = tmp_path.glob("vectors/*.npy")
    os.truncate(torn, torn.stat().st_size - 2)
    for asked in ([0, 1], []):
        compute = Counted([1, 2])
        assert vision._kept(tmp_path, ["net"], list("ab"), compute)[:, 0].tolist() == [1, 2]
        assert compute.asked == asked


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("value", [1e6, np.inf, np.nan])
def test_what_does_not_fit_half_precision_is_refused_and_not_kept(tmp_path, value):
    with pytest.raises(ValueError, match=r"does not fit half precision.* 65504"):
        vision._kept(tmp_path, ["net"], ["a"], lambda _: [np.array([[1.0, value]])])
    assert not list(tmp_path.glob("vectors/*.npy"))


# --- towers --------------------------------------------------------------------------------------


def test_a_picture_is_looked_at_once_in_whatever_language_it_is_told(rows, tmp_path, looked):
    some = vision.features("micro-vision", rows.select([0, 1, 0]), tmp_path)
    assert looked == [2] and some.dtype == np.float16 and some.shape == (3, 128)
    assert np.array_equal(some[0], some[2]) and not np.array_equal(some[0], some[1])
    in_another_language = data.load(get("captions"), "train", "qbe", 8).select([0, 1])
    more = vision.features("micro-vision", in_another_language, tmp_path)
    assert looked == [2] and np.array_equal(more, some[:2])


def test_features_are_the_means_of_what_the_network_gives_in_evaluation(rows, tmp_path):
    tower = vision.Tower("micro-vision").eval()
    with torch.inference_mode():
        hidden = tower.network(pixel_values=tower.pixels(rows["image"][:])).last_hidden_state
    assert hidden.shape[1] == vision.width(tower) == vision.width("micro-vision") == 128
    expected = hidden.mean((2, 3)).numpy()
    assert np.allclose(vision.features("micro-vision", rows, tmp_path), expected, atol=5e-3)
    tower.train()
    assert vision.width(tower) == 128 and tower.training


def test_pixels_are_seen_without_a_network(rows, tmp_path, looked):
    seen = vision.features("pixels", rows, tmp_path)
    assert seen.shape == (8, vision.width("pixels")) == (8, 768) and not looked
    small = np.asarray(rows[3]["image"].resize((16, 16)), dtype=np.float32)
    assert np.allclose(seen[3], small.ravel() / 127.5 - 1, atol=1e-3)
    assert seen.min() >= -1 and seen.max() <= 1


def test_a_vision_model_without_text_gives_the_mean_of_its_patches(rows, tmp_path):
    torch.manual_seed(0)
    ViTModel(ViTConfig(**SEEN)).save_pretrained(tmp_path / "vit")
    picture_processor().save_pretrained(tmp_path / "vit")
    tower = vision.Tower(str(tmp_path / "vit")).eval()
    pixels = tower.pixels(rows["image"][:2])
    with torch.inference_mode():
        hidden = tower.network(pixel_values=pixels).last_hidden_state
        assert hidden.ndim == 3 and torch.equal(tower(pixels), hidden.mean(1))


def test_a_fingerprint_is_that_of_the_weights_and_of_what_is_done_to_pictures(tmp_path):
    shutil.copytree(vision.MICRO_CLIP / "tower", tmp_path / "copy")
    known = vision.fingerprint("micro-vision")
    assert vision.fingerprint(str(tmp_path / "copy")) == known != vision.fingerprint("micro-clip")
    processor = tmp_path / "copy" / "preprocessor_config.json"
    processor.write_text(processor.read_text().replace("0.5", "0.4"))
    assert vision.fingerprint(str(tmp_path / "copy")) != known


@pytest.mark.parametrize("call", [vision.fingerprint, vision.Tower, vision.locate])
def test_an_unknown_tower_is_named_with_those_there_are(call):
    with pytest.raises(ValueError, match=r"'micro-visoin' is no image tower.*'micro-vision'"):
        call("micro-visoin")


# --- teachers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS_OF_DUAL, ids=["clip", "siglip"])
def test_a_dual_encoder_gives_both_sides_of_one_space(kind, tokenizer, rows, tmp_path, monkeypatch):
    name = dual(kind, tmp_path / "dual", tokenizer)
    assert vision.tower_of(name) == name
    texts = vision.teacher_vectors(name, WORDS, tmp_path)
    pictures = vision.features(name, rows, tmp_path)
    assert texts.shape == (3, pictures.shape[1]) and len(pictures) == 8
    # what stands beside a text in its batch must not be seen in its vector
    monkeypatch.setattr(vision, "BATCH", 1)
    assert np.allclose(vision.teacher_vectors(name, WORDS, tmp_path / "alone"), texts, atol=2e-3)
    assert not np.allclose(texts[0], texts[2], atol=2e-3)


def test_texts_are_read_once(tmp_path, monkeypatch):
    first = vision.teacher_vectors("micro-clip", WORDS, tmp_path)
    monkeypatch.setattr(vision, "_teacher", lambda name: pytest.fail("loaded again"))
    again = vision.teacher_vectors("micro-clip", [*WORDS, WORDS[1]], tmp_path)
    assert np.array_equal(again, first[[0, 1, 2, 1]])


@pytest.mark.parametrize("name", [str(encoder.MICRO), "micro-vision"])
def test_what_has_no_text_tower_is_no_teacher(name, tmp_path):
    with pytest.raises(ValueError, match=f"'{name}' is no teacher: it has no text tower"):
        vision.teacher_vectors(name, WORDS, tmp_path)


def test_the_towers_of_the_shipped_clip_find_each_other(tmp_path):
    rows = data.load(get("captions"), "test", "en", 100).select(range(100))
    kind = TYPES["captions"]
    features = kind.encode(get("captions"), rows, encoder.load_tokenizer("micro"), 96, False)
    said = [text for texts in rows["texts"][:] for text in texts]
    pair = (
        vision.teacher_vectors("micro-clip", said, tmp_path),
        vision.features(vision.tower_of("micro-clip"), rows, tmp_path),
    )
    texts, images = (v / np.linalg.norm(v.astype(float), axis=1, keepdims=True) for v in pair)
    _, same = np.unique(vision.contents(rows), return_inverse=True)
    table = kind.found(rows, features, texts, images, same)
    assert kind.metrics(get("captions"), table, "en")["r@1"] > 90


def test_two_rebuilds_of_the_shipped_clip_are_the_same_to_the_byte(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build_micro, "SCENES", 40)
    digests = []
    for name in ("first", "second"):
        monkeypatch.setenv("XLTKIT_STORE", str(tmp_path / f"store-{name}"))
        build_micro.main_clip(["--out", str(tmp_path / name), "--steps", "2"])
        files = {f: file_digest(tmp_path / name / f) for f in build_micro.CLIP_FILES}
        digests.append(files)
    assert digests[0] == digests[1]
    assert digests[0]["model.safetensors"][:16] in capsys.readouterr().out
    assert {f.name for f in vision.MICRO_CLIP.iterdir()} == {
        f.partition("/")[0] for f in build_micro.CLIP_FILES
    }
