"""Text targets: what the names say, and what happens when a name or the weights are missing."""

import json
import socket
from pathlib import Path

import pytest
import torch

from cityguessr.base.errors import InputError, MissingWeights
from cityguessr.config import TEXT_WIDTHS
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.text import language_models
from cityguessr.text.features import ENCODERS, text_features

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
            assert features.shape == (166, TEXT_WIDTHS[encoder])
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


# --- BERT, GPT-2 and OPT (Table S2), as tiny checkpoints of the same form

HUB = {"bert": "google-bert/bert-base-uncased", "gpt2": "openai-community/gpt2", "opt": "facebook/opt-125m"}


def make_checkpoint(encoder: str, folder: Path) -> torch.nn.Module:
    """A tiny network with random weights and a tokenizer of letters, saved as the hub's checkpoints are."""
    import transformers
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    torch.manual_seed(0)
    if encoder == "bert":
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(chr, range(97, 123)), "san", "##jose"]
        vocab = {word: i for i, word in enumerate([*words, *(f"##{chr(c)}" for c in range(97, 123))])}
        tokenizer = transformers.BertTokenizer(vocab=vocab)
        config = transformers.BertConfig(
            vocab_size=len(vocab), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
        )
        network = transformers.BertModel(config)
    else:
        start = "<|endoftext|>" if encoder == "gpt2" else "</s>"
        vocab = {letter: i for i, letter in enumerate([start, "<pad>", *bytes_to_unicode().values()])}
        tokenizer = transformers.GPT2Tokenizer(
            vocab=vocab, merges=[], bos_token=start, eos_token=start, unk_token=start
        )
        if encoder == "gpt2":
            config = transformers.GPT2Config(vocab_size=len(vocab), n_embd=32, n_layer=2, n_head=2, n_positions=64)
            network = transformers.GPT2Model(config)
        else:
            config = transformers.OPTConfig(
                vocab_size=len(vocab), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, ffn_dim=64,
                word_embed_proj_dim=32, max_position_embeddings=64,
            )  # fmt: skip
            network = transformers.OPTModel(config)
    network.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return network


@pytest.mark.parametrize("encoder", HUB)
def test_a_name_is_the_mean_of_its_own_tokens_whatever_stands_beside_it(
    tree: Taxonomy, offline: Path, encoder: str, capfd: pytest.CaptureFixture[str]
) -> None:
    network = make_checkpoint(encoder, offline / "data" / "weights" / HUB[encoder].split("/")[1])
    names = ["Lima", "Rio de Janeiro", "Ho Chi Minh City", "Lyon"]
    capfd.readouterr()
    features = ENCODERS[encoder](names)
    assert capfd.readouterr() == ("", "")
    assert features.shape == (4, 32)
    for i, name in enumerate(names):  # neither other names nor the padding that they bring
        torch.testing.assert_close(ENCODERS[encoder]([name])[0], features[i], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ENCODERS[encoder](names[::-1]).flip(0), features)
    if encoder == "bert":  # letters, since the tiny vocabulary has no such words
        ids = [2, *(5 + ord(name) - 97 for name in "l"), *(33 + ord(c) - 97 for c in "ima"), 3]
    else:
        from transformers.convert_slow_tokenizer import bytes_to_unicode

        letters = list(bytes_to_unicode().values())
        ids = [0, *(2 + letters.index(c) for c in "Lima")]  # the token that begins a text comes first
    with torch.inference_mode():
        hidden = network(torch.tensor([ids])).last_hidden_state[0]
    torch.testing.assert_close(features[0], hidden[1:5].mean(0), atol=1e-5, rtol=1e-4)
    part = tree.subset(["Tokyo", "Lima"])
    chain = [[part.names[v][i] for v, i in part.chain(torch.tensor(c)).items()] for c in range(2)]
    by_hand = torch.stack([ENCODERS[encoder](names).mean(0) for names in chain])
    torch.testing.assert_close(text_features(part, encoder, "all"), by_hand, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("encoder", "megabytes"), [("bert", 440), ("gpt2", 550), ("opt", 250)])
def test_a_language_model_that_is_not_here_is_named_with_its_size_and_the_command(
    tree: Taxonomy, offline: Path, encoder: str, megabytes: int
) -> None:
    assert TEXT_WIDTHS[encoder] == 768
    with pytest.raises(MissingWeights) as caught:
        text_features(tree, encoder)
    message = str(caught.value)
    folder = offline / "data" / "weights" / HUB[encoder].split("/")[1]
    for part in (HUB[encoder], f"{megabytes} MB", f"save_pretrained('{folder}')", "allow_downloads=True"):
        assert part in message
    assert "\n" not in message
    with pytest.raises(MissingWeights, match="'mine/own-model' are not on this machine"):
        text_features(tree, encoder, model="mine/own-model")


def test_damaged_and_incomplete_language_models_are_refused(tree: Taxonomy, offline: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = offline / "data" / "weights" / "gpt2"
    make_checkpoint("gpt2", folder)
    weights, content = folder / "model.safetensors", (folder / "model.safetensors").read_bytes()
    weights.write_bytes(content[:1000])
    with pytest.raises(InputError, match=r"weights/gpt2: the weights are damaged"):
        text_features(tree, "gpt2")
    weights.write_bytes(content)
    save_file({k: v for k, v in load_file(weights).items() if "wte" not in k}, weights, {"format": "pt"})
    with pytest.raises(InputError, match=r"1 encoder weights are not in the checkpoint .* wte\.weight; bring it again"):
        text_features(tree, "gpt2")
    weights.rename(folder / "pytorch_model.bin")
    with pytest.raises(MissingWeights, match=r"weights/gpt2 lacks model\.safetensors"):  # no pickle is read
        text_features(tree, "gpt2")
    weights.write_bytes(content)
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(InputError, match=r"weights/gpt2: the tokenizer is not that of this model"):
        text_features(tree, "gpt2")


def test_a_batch_boundary_changes_no_feature(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_checkpoint("opt", offline / "data" / "weights" / "opt-125m")
    names = ["Lima", "Rio de Janeiro", "Ho Chi Minh City", "Lyon"]
    whole = ENCODERS["opt"](names)
    monkeypatch.setattr(language_models, "_BATCH", 1)
    torch.testing.assert_close(ENCODERS["opt"](names), whole, atol=1e-5, rtol=1e-4)


def test_the_bundled_features_cover_the_cities_of_mapillary_too(tree: Taxonomy) -> None:
    cities = (  # noqa: SIM905
        "London Boston Melbourne Amsterdam Helsinki Tokyo Moscow Bangkok Budapest Austin Berlin Amman Nairobi Manila "
        "Copenhagen Miami Athens Buenos_Aires Stockholm Banglore Kampala"
    ).split()
    part = tree.subset(cities)
    assert part.sizes == {"city": 21, "state": 21, "country": 19, "continent": 6}
    ids = [tree.folders.index(name) for name in part.folders]
    assert torch.equal(text_features(part), text_features(tree)[ids])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"encoder": "word2vec"}, "it is one of minilm, clip, bert, gpt2, opt, random"),
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
