"""The bundled image-text encoder, and any other CLIP folder, as an instrument."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from sfumato.errors import ModelError, Unsupported
from sfumato.models.clip_folder import bundled_encoders
from sfumato.models.folder import BUNDLED, bundled_models, find_model
from sfumato.models.picture_encoder import PictureEncoder
from sfumato.portraits import VALUES, caption, draw_attributes, paint

FOLDER = BUNDLED / "portraits-clip"


@pytest.fixture(scope="module")
def encoder():
    return PictureEncoder()


@pytest.fixture(scope="module")
def painted():
    """Thirty people, their pictures, and captions that name every attribute."""
    generator = np.random.default_rng(31)
    people = [draw_attributes(generator) for _ in range(30)]
    pictures = np.stack([paint(person, generator) for person in people])
    return people, pictures, [caption(person, generator, leave_out=0.0) for person in people]


class TestFolder:
    def test_it_is_small_and_has_a_card(self):
        assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 6e6
        card = (FOLDER / "README.md").read_text()
        assert all(f"\n## {heading}\n" in card for heading in ("Data", "Training", "Limits", "Measured quality"))

    def test_stock_transformers_loads_all_of_it_offline_with_warnings_as_errors(self):
        code = (
            "from transformers import CLIPModel, CLIPProcessor, CLIPTokenizerFast\n"
            f"folder = {str(FOLDER)!r}\n"
            "model, info = CLIPModel.from_pretrained(folder, output_loading_info=True)\n"
            "assert not any(info.values()), info\n"
            "processor = CLIPProcessor.from_pretrained(folder)\n"
            "words = CLIPTokenizerFast.from_pretrained(folder)('a woman')['input_ids']\n"
            "import numpy as np\n"
            "picture = np.zeros((128, 128, 3), np.uint8)\n"
            "batch = processor(text=['a woman'], images=[picture], return_tensors='pt')\n"
            "assert batch['input_ids'][0].tolist() == words and len(words) == 4\n"
            "print(model(**batch).logits_per_image.shape, model.dtype)\n"
        )
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
        assert done.stdout.split() == ["torch.Size([1,", "1])", "torch.float32"], done.stderr

    def test_it_is_no_diffusion_model(self):
        assert bundled_encoders() == ["portraits-clip"]
        assert "portraits-clip" not in bundled_models()
        with pytest.raises(ModelError, match="no model 'portraits-clip'"):
            find_model("portraits-clip")

    def test_its_attributes_are_the_painters(self, encoder):
        assert encoder.attribute_values == VALUES


class TestShapes:
    def test_embeddings_have_length_one(self, encoder, painted):
        _, pictures, texts = painted
        for rows in (encoder.embed_pictures(pictures[:3]), encoder.embed_texts(texts[:3])):
            assert rows.shape == (3, 128)
            assert rows.dtype == np.float32
            np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)

    def test_features_and_maps(self, encoder, painted):
        pictures = painted[1][:3]
        features, maps = encoder.features(pictures), encoder.feature_maps(pictures)
        assert features.shape == (3, encoder.feature_width) == (3, 160)
        assert [m.shape for m in maps] == [(3, 160, 8, 8)] * 3
        assert {m.dtype for m in (features, *maps)} == {np.dtype(np.float32)}

    def test_probabilities_sum_to_one_and_classes_are_products(self, encoder, painted):
        pictures = painted[1][:4]
        attributes, classes = encoder.attributes(pictures), encoder.class_probabilities(pictures)
        assert {name: rows.shape for name, rows in attributes.items()} == {n: (4, len(v)) for n, v in VALUES.items()}
        assert classes.shape == (4, len(encoder.classes)) == (4, 2 * 5 * 10)
        for rows in (classes, *attributes.values()):
            np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-5)
        column = encoder.classes.index(("man", "blond", "sea"))
        names = zip(encoder.class_attributes, ("man", "blond", "sea"), strict=True)
        expected = np.prod([attributes[name][:, VALUES[name].index(value)] for name, value in names], axis=0)
        np.testing.assert_allclose(classes[:, column], expected, rtol=1e-5)

    def test_maps_keep_places(self, encoder):
        """A change in one corner moves that corner's tokens of the first map most."""
        picture = np.full((1, 128, 128, 3), 90, np.uint8)
        changed = picture.copy()
        changed[0, :16, 112:] = 250
        moved = np.abs(encoder.feature_maps(picture)[0] - encoder.feature_maps(changed)[0]).sum(1)[0]
        assert np.unravel_index(moved.argmax(), moved.shape) == (0, 7)


class TestRows:
    def test_a_batch_gives_what_single_pictures_give(self, encoder, painted):
        _, pictures, texts = painted
        for read in (encoder.embed_pictures, encoder.features):
            single = np.concatenate([read(pictures[i : i + 1]) for i in range(5)])
            np.testing.assert_allclose(read(pictures[:5]), single, atol=1e-4)
        single = np.concatenate([encoder.embed_texts([text]) for text in texts[:5]])
        np.testing.assert_allclose(encoder.embed_texts(texts[:5]), single, atol=1e-5)

    def test_more_than_one_internal_batch(self, encoder, painted):
        pictures = painted[1]
        many = encoder.features(np.concatenate([pictures] * 3))
        assert len(many) == 90
        np.testing.assert_allclose(many[60:], many[:30], atol=1e-4)

    def test_other_sizes_are_scaled(self, encoder, painted):
        people = painted[0][:10]
        large = np.stack([paint(person, np.random.default_rng(i), size=256) for i, person in enumerate(people)])
        usual = np.stack([paint(person, np.random.default_rng(i)) for i, person in enumerate(people)])
        similarity = (encoder.embed_pictures(large) * encoder.embed_pictures(usual)).sum(1)
        assert similarity.min() > 0.9
        assert encoder.features(large[:2, 40:136, :200]).shape == (2, 160)


class TestMeaning:
    def test_painted_pictures_find_their_captions(self, encoder, painted):
        _, pictures, texts = painted
        similarity = encoder.embed_pictures(pictures[:20]) @ encoder.embed_texts(texts[:20]).T
        assert np.mean(similarity.argmax(1) == np.arange(20)) >= 0.8
        assert np.mean(similarity.argmax(0) == np.arange(20)) >= 0.8

    def test_a_wrong_prompt_scores_lower(self, encoder, painted):
        people, pictures, _ = painted
        right = [f"a {p.gender} in a {p.clothing} shirt" for p in people]
        wrong = [f"a {p.gender} in a {'blue' if p.clothing != 'blue' else 'red'} shirt" for p in people]
        seen = encoder.embed_pictures(pictures)
        margins = (seen * (encoder.embed_texts(right) - encoder.embed_texts(wrong))).sum(1)
        assert np.mean(margins > 0) >= 29 / 30

    @pytest.mark.parametrize(("way", "bar"), [("attributes", 0.9), ("attributes_by_captions", 0.8)])
    def test_attributes_are_read(self, encoder, painted, way, bar):
        people, pictures, _ = painted
        found = getattr(encoder, way)(pictures)
        hits = [
            VALUES[name][row.argmax()] == getattr(person, name)
            for name, rows in found.items()
            for person, row in zip(people, rows, strict=True)
            if not (name == "hair_colour" and person.hair_style == "bald")
            and not (name == "beard" and person.gender == "woman")
        ]
        assert np.mean(hits) >= bar


class TestBadInput:
    @pytest.mark.parametrize(
        ("pictures", "message"),
        [
            (np.zeros((1, 8, 8, 3), np.float32), "must be uint8, got float32 of shape .*scale floats"),
            (np.zeros((8, 8, 3), np.uint8), r"must have shape \(batch, height, width, 3\)"),
            (np.zeros((1, 3, 8, 8), np.uint8), r"must have shape \(batch, height, width, 3\)"),
            (np.zeros((0, 8, 8, 3), np.uint8), "without an empty axis"),
        ],
        ids=["floats", "one picture", "channels first", "none"],
    )
    def test_pictures(self, encoder, pictures, message):
        with pytest.raises(ValueError, match=message):
            encoder.features(pictures)

    @pytest.mark.parametrize("texts", ["a woman", []], ids=["one string", "none"])
    def test_texts(self, encoder, texts):
        with pytest.raises(ValueError, match="list of at least one caption"):
            encoder.embed_texts(texts)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("nosuch", "no image-text encoder 'nosuch': .*bundled image-text encoders: portraits-clip"),
            (BUNDLED / "portraits", "not a CLIP model: it holds no config.json"),
            (BUNDLED / "portraits/unet", "not a CLIP model: its config.json names no model_type 'clip'"),
            (BUNDLED / "portraits/text_encoder", "names no model_type 'clip'"),
        ],
        ids=["unknown name", "pipeline", "U-Net", "text encoder"],
    )
    def test_no_clip_model(self, name, message):
        with pytest.raises(ModelError, match=message):
            PictureEncoder(name)

    @pytest.mark.parametrize(
        ("file", "content", "message"),
        [
            ("model.safetensors", None, "incomplete or damaged"),
            ("model.safetensors", b"\x00" * 100, "incomplete or damaged"),
            ("tokenizer.json", b"{", "incomplete or damaged"),
            ("config.json", b"{", "config.json cannot be read"),
            ("attributes.json", b'{"captions": {}}', "attributes.json holds no captions"),
            ("read_out.safetensors", b"{}", "read_out.safetensors does not fit attributes.json"),
        ],
        ids=["no weights", "no safetensors", "tokenizer", "configuration", "captions", "linear maps"],
    )
    def test_damaged_folder(self, tmp_path, file, content, message):
        folder = shutil.copytree(FOLDER, tmp_path / "copy")
        (folder / file).write_bytes(content) if content else (folder / file).unlink()
        with pytest.raises(ModelError, match=message):
            PictureEncoder(folder)

    def test_weights_of_another_shape_are_not_replaced_by_random_ones(self, tmp_path):
        folder = shutil.copytree(FOLDER, tmp_path / "copy")
        config = json.loads((folder / "config.json").read_text())
        config["vision_config"]["num_hidden_layers"] += 1
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelError, match="incomplete: 16 tensors are missing"):
            PictureEncoder(folder)

    def test_a_folder_without_linear_maps_reads_by_captions(self, encoder, tmp_path, painted):
        folder, pictures = shutil.copytree(FOLDER, tmp_path / "copy"), painted[1][:2]
        (folder / "read_out.safetensors").unlink()
        found, expected = PictureEncoder(folder).attributes(pictures), encoder.attributes_by_captions(pictures)
        for name in VALUES:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-5)

    def test_a_folder_without_captions_still_embeds(self, tmp_path, painted):
        folder = shutil.copytree(FOLDER, tmp_path / "copy")
        (folder / "attributes.json").unlink()
        encoder = PictureEncoder(folder)
        assert encoder.embed_pictures(painted[1][:1]).shape == (1, 128)
        with pytest.raises(Unsupported, match="names no attributes; use 'portraits-clip'"):
            encoder.attributes(painted[1][:1])
