"""Text targets: what the names say, and what happens when a name or the weights are missing."""

import json
import socket
from pathlib import Path

import pytest
import torch

from cityguessr.data.text import ENCODERS, text_features
from cityguessr.errors import InputError
from cityguessr.taxonomy import LEVELS, Taxonomy

cosine = torch.nn.functional.cosine_similarity


@pytest.fixture(scope="module")
def tree() -> Taxonomy:
    return Taxonomy.cityguessr68k()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network, an empty project and an empty hub cache."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def test_every_city_has_a_target_of_the_encoders_width(tree: Taxonomy) -> None:
    for encoder in ("minilm", "random"):
        for which in ("all", "city"):
            features = text_features(tree, encoder, which)
            assert features.shape == (166, ENCODERS[encoder].dimension)
            assert features.dtype == torch.float32
            assert torch.isfinite(features).all()
            assert len(features.unique(dim=0)) == 166


def test_the_target_is_the_mean_of_the_four_names(tree: Taxonomy) -> None:
    table = {}
    for level in LEVELS:  # a tree of one level's names as cities gives that level's own features
        table[level] = text_features(_as_cities(tree.names[level]), "minilm", "city")
    delhi = tree.city_id("Delhi")
    by_hand = sum(table[level][tree.ancestors[level][delhi]] for level in LEVELS) / 4
    torch.testing.assert_close(text_features(tree, "minilm", "all")[delhi], by_hand)
    torch.testing.assert_close(text_features(tree, "minilm", "city")[delhi], table["city"][delhi])


def test_the_features_know_geography(tree: Taxonomy) -> None:
    city = text_features(tree, "minilm", "city")
    country = {}
    for capital in ("Delhi", "Tokyo", "Berlin", "Nairobi", "Cairo"):
        chain = tree.chain(torch.tensor(tree.city_id(capital)))
        country[capital] = tree.names["country"][chain["country"]]
    flat = text_features(_as_cities(tuple(country.values())), "minilm", "city")
    for i, capital in enumerate(country):
        similar = cosine(city[tree.city_id(capital)], flat, dim=1)
        assert similar.argmax() == i, f"{capital} is not closest to {country[capital]}"


def test_random_vectors_know_nothing_but_are_stable(tree: Taxonomy) -> None:
    features = text_features(tree, "random", "city")
    torch.testing.assert_close(features.norm(dim=1), torch.ones(166))
    assert (features @ features.T - torch.eye(166)).abs().max() < 0.3
    part = tree.subset(["Delhi", "Tokyo"])
    ids = [tree.city_id(name) for name in part.folders]
    assert torch.equal(text_features(part, "random"), text_features(tree, "random")[ids])
    assert not torch.equal(text_features(tree, "random", seed=1), text_features(tree, "random"))
    assert text_features(tree, "random", dimension=32).shape == (166, 32)


def test_a_subset_keeps_its_features(tree: Taxonomy) -> None:
    part = tree.subset(["Ho Chi Minh City", "Malmö", "Bengaluru"])
    ids = [tree.city_id(name) for name in part.folders]
    assert torch.equal(text_features(part), text_features(tree)[ids])


def test_names_of_a_label_list_are_found_however_they_are_written(tree: Taxonomy, tmp_path: Path) -> None:
    labels = tmp_path / "labels_list.csv"
    labels.write_text("City,State,Country,Continent\nBanglore,KARNATAKA,India,Asia\nMalm,Skane_County,Sweden,Europe\n")
    listed = Taxonomy.from_labels_list(labels)
    ids = [tree.city_id("Bengaluru"), tree.city_id("Malmö")]
    torch.testing.assert_close(text_features(listed), text_features(tree)[ids])


def test_an_unknown_name_says_how_to_get_features(offline: Path) -> None:
    labels = offline / "labels_list.csv"
    labels.write_text("City,State,Country,Continent\nAtlantis,Poseidonis,Atlantis_Empire,Europe\n")
    with pytest.raises(InputError, match=r"3 of 4 names \(Atlantis.*make_text_features\.py.*another encoder"):
        text_features(Taxonomy.from_labels_list(labels))


def test_an_own_table_adds_names(offline: Path) -> None:
    from safetensors.torch import save_file

    about = {"names": ["Atlantis", "Poseidonis"]}
    weights = offline / "data" / "weights"
    weights.mkdir(parents=True)
    save_file({"features": torch.eye(2, 384)}, weights / "text_minilm.safetensors", {"about": json.dumps(about)})
    labels = offline / "labels_list.csv"
    labels.write_text("City,State,Country,Continent\nAtlantis,Poseidonis,Greece,Europe\n")
    assert torch.equal(text_features(Taxonomy.from_labels_list(labels), which="city"), torch.eye(1, 384))


def test_clip_without_weights_names_them_their_size_and_the_way_to_get_them(tree: Taxonomy, offline: Path) -> None:
    with pytest.raises(InputError) as caught:
        text_features(tree, "clip")
    message = str(caught.value)
    for part in ("ViT-B-32", "openai", "605 MB", "hf download", "ViT-B-32-openai.safetensors", "allow_downloads"):
        assert part in message
    assert str(offline / "data" / "weights") in message
    with pytest.raises(InputError, match=r"publishes no weights 'nonesuch'.*openai"):
        text_features(tree, "clip", pretrained="nonesuch")
    with pytest.raises(InputError, match="no model 'ViT-Q'"):
        text_features(tree, "clip", model="ViT-Q")


def test_clip_from_a_local_file_is_open_clips_own_text_tower(tree: Taxonomy, offline: Path) -> None:
    import open_clip
    from safetensors.torch import save_file

    config = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    (offline / "ViT-tiny-test.json").write_text(json.dumps(config))
    open_clip.add_model_config(offline / "ViT-tiny-test.json")
    torch.manual_seed(0)
    network = open_clip.create_model("ViT-tiny-test", load_weights=False).eval()
    weights = offline / "data" / "weights"
    weights.mkdir(parents=True)
    save_file(network.state_dict(), weights / "ViT-tiny-test-mine.safetensors")
    part = tree.subset(["Tokyo", "Lima"])
    features = text_features(part, "clip", "city", model="ViT-tiny-test", pretrained="mine")
    with torch.inference_mode():
        by_hand = network.encode_text(open_clip.get_tokenizer("ViT-tiny-test")(list(part.names["city"])))
    torch.testing.assert_close(features, by_hand)
    (weights / "ViT-tiny-test-broken.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"ViT-tiny-test-broken\.safetensors: cannot be loaded"):
        text_features(part, "clip", model="ViT-tiny-test", pretrained="broken")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"encoder": "word2vec"}, "known are minilm, clip, random"),
        ({"which": "state"}, "'all'.*'city'"),
        ({"encoder": "minilm", "seed": 3}, "seed"),
    ],
)
def test_wrong_arguments_are_named(tree: Taxonomy, arguments: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        text_features(tree, **arguments)


def _as_cities(names: tuple[str, ...]) -> Taxonomy:
    """A tree whose cities carry the given names."""
    one = torch.zeros(1, dtype=torch.long)
    return Taxonomy(
        {"city": names, "state": ("x",), "country": ("x",), "continent": ("x",)},
        {"city": torch.zeros(len(names), dtype=torch.long), "state": one, "country": one},
        torch.zeros(len(names), 2, dtype=torch.float64),
        names,
        ("",),
    )
