"""The released checkpoint: every tensor in its place, and whatever is none refused (outputs: test_released_network)."""

import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from safetensors.torch import save_file
from support import one_line
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.checkpoint import load_released_checkpoint
from cityguessr.config import ModelConfig
from cityguessr.model import CityGuessr
from cityguessr.speed.reference import WIDTH, released_state
from cityguessr.taxonomy import Taxonomy


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    path = tmp_path_factory.mktemp("released") / "checkpoint.pth"
    state = released_state()
    optimizer = torch.optim.Adam([torch.zeros(3, requires_grad=True)]).state_dict()
    torch.save({"epoch": 12, "state_dict": state, "best_acc1": torch.tensor(69.6), "optimizer": optimizer}, path)
    return path, state


def test_the_loaded_model_is_as_released(checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    model = load_released_checkpoint(checkpoint[0])
    released = ModelConfig.as_released()
    assert model.config == released.replace(pretrained=None, text_dim=512)
    assert not model.training


def test_a_checkpoint_from_several_gpus_loads(tmp_path: Path) -> None:
    state = {f"module.{key}": value for key, value in released_state(layers=1).items()}
    torch.save(state, tmp_path / "bare.pth")
    assert load_released_checkpoint(tmp_path / "bare.pth").config.depth == 1


def test_query_and_value_biases_are_loaded(checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    path, state = checkpoint
    attention = load_released_checkpoint(path).backbone.encoder.encoder.layer[3].attention.attention
    key = "backbone.backbone.encoder.layer.3.attention.attention"
    assert torch.equal(attention.query.bias, state[f"{key}.q_bias"])
    assert torch.equal(attention.value.bias, state[f"{key}.v_bias"])


def test_keys_have_no_bias_where_the_module_has_room_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class WithKeyBias(CityGuessr):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            self.key_bias.bias = torch.nn.Parameter(torch.ones(WIDTH))

        @property
        def key_bias(self) -> torch.nn.Linear:
            return self.backbone.encoder.encoder.layer[0].attention.attention.key

    monkeypatch.setattr("cityguessr.checkpoint.CityGuessr", WithKeyBias)
    torch.save(released_state(layers=1), tmp_path / "bare.pth")
    assert not load_released_checkpoint(tmp_path / "bare.pth").key_bias.bias.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("mha.in_proj_weight"), "not the released architecture; missing: attention.attention"),
        (lambda state: state.update(extra=torch.zeros(1)), "unknown: extra"),
        (lambda state: state.pop("classifier_city.weight"), "none city classes, the taxonomy has 166"),
        (lambda state: state.update({"classifier_city.weight": torch.zeros(21, WIDTH)}), "21 city classes"),
    ],
)
def test_another_architecture_is_refused(tmp_path: Path, change: object, message: str) -> None:
    state = released_state(layers=1)
    change(state)
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=message):
        load_released_checkpoint(tmp_path / "other.pth")


PATCHES = "backbone.backbone.embeddings.patch_embeddings.projection.weight"
CITY = "classifier_city.weight"


def saved(folder: Path, changes: Mapping[object, object] = MappingProxyType({})) -> Path:
    """A checkpoint of one layer with some tensors changed, both copies of those that the authors' network has twice."""
    state = released_state(layers=1)
    for name, value in changes.items():
        twice = {name, name.replace("backbone.backbone.", "backbone.")} if isinstance(name, str) else {name}
        state |= {key: value(state[key]) if callable(value) else value for key in twice}
    torch.save({"state_dict": state}, folder / "saved.pth")
    return folder / "saved.pth"


@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "model.module._orig_mod."]
)
def test_names_from_a_compiled_or_wrapped_model_load_to_the_bit(tmp_path: Path, prefix: str) -> None:
    plain, path = load_released_checkpoint(saved(tmp_path)).state_dict(), tmp_path / "wrapped.pth"
    torch.save({"state_dict": {prefix + key: value for key, value in released_state(layers=1).items()}}, path)
    wrapped = load_released_checkpoint(path).state_dict()
    assert plain.keys() == wrapped.keys()
    assert all(torch.equal(value, wrapped[key]) for key, value in plain.items())


def test_safetensors_old_files_and_other_precisions_load_as_well(tmp_path: Path) -> None:
    plain, state = load_released_checkpoint(saved(tmp_path)).state_dict(), released_state(layers=1)
    save_file({key: value.clone() for key, value in state.items()}, tmp_path / "c.safetensors")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({key: value.half() for key, value in state.items()}, tmp_path / "half.pth")
    for name, tolerance in (("c.safetensors", 0), ("old.pth", 0), ("half.pth", 1e-3)):
        loaded = load_released_checkpoint(tmp_path / name).state_dict()
        assert all((value - loaded[key]).abs().max() <= tolerance for key, value in plain.items()), name
        assert {value.dtype for value in loaded.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({CITY: lambda w: w.to(torch.int8)}, "classifier_city.weight is of the type int8"),
        ({CITY: lambda w: w.to(torch.complex64)}, "classifier_city.weight is of the type complex64"),
        ({CITY: lambda w: w > 0}, "classifier_city.weight is of the type bool"),
        ({CITY: lambda w: w.to_sparse()}, "classifier_city.weight is a sparse tensor"),
        ({CITY: lambda w: w.to("meta")}, "classifier_city.weight has a shape and no content"),
        ({CITY: torch.zeros(166, 100)}, r"classifier_city.weight has the shape \(166, 100\), \(166, 384\) is needed"),
        ({CITY: torch.tensor(1.0)}, r"\(\) city classes, the taxonomy has 166"),
        ({"mha.in_proj_weight": torch.zeros(12, 6)}, r"mha.in_proj_weight has the shape \(12, 6\), \(18, 6\)"),
        ({"out_linear.0.weight": torch.zeros(256, 421)}, r"out_linear.0.weight has the shape \(256, 421\)"),
        ({"text_linear.2.bias": lambda w: w * float("nan")}, "text_linear.2.bias holds numbers that are not finite"),
        ({PATCHES: lambda w: w.double() * 1e300}, "projection.weight holds numbers that are not finite"),
        ({PATCHES: torch.tensor(1.0)}, r"the patch embedding has the shape \(\)"),
        ({PATCHES: torch.zeros(0, 3, 2, 16, 16)}, "features of 0 numbers"),
        ({PATCHES: torch.zeros(100, 3, 2, 16, 16)}, "features of 100 numbers"),
        ({PATCHES: torch.zeros(1).expand(64 * 10**6, 3, 2, 16, 16)}, "features of 64000000 numbers"),
        ({PATCHES: torch.zeros(384, 3, 2, 0, 0)}, "patches of 0 pixels"),
        ({PATCHES: torch.zeros(384, 3, 2, 1, 1)}, "patches of 1 pixels"),
        ({"text_linear.2.weight": torch.tensor(1.0)}, r"text_linear.2.weight has the shape \(\)"),
        ({"text_linear.2.weight": torch.zeros(1, 1).expand(10**9, 466)}, r"has the shape \(1000000000, 466\)"),
        ({"text_linear.0.weight": torch.zeros(1).expand(466, 420)}, "claims 195,720 numbers, more than are stored"),
        ({"backbone.backbone.encoder.layer.9999.x": torch.zeros(1)}, "2 layers, numbered 0 to 9999"),
        ({"backbone.backbone.encoder.layer.999999999.x": torch.zeros(1)}, "2 layers, numbered 0 to 999999999"),
        ({f"backbone.backbone.encoder.layer.{'9' * 5000}.x": torch.zeros(1)}, "2 layers, numbered 0 to 999999999"),
        ({"module.classifier_city.bias": torch.zeros(166)}, "two tensors are called classifier_city.bias"),
        ({"backbone.embeddings.patch_embeddings.projection.bias": torch.zeros(384)}, "second time, with other numbers"),
        ({5: torch.zeros(1)}, "a tensor is called 5, where names are text"),
        ({"note": "mine"}, r"no state_dict of tensors \(note is none\)"),
    ],
)
def test_what_is_no_network_of_the_authors_is_refused_by_name(
    tmp_path: Path, tensors: dict[str, object], message: str
) -> None:
    path = saved(tmp_path, tensors)
    with pytest.raises(InputError, match=message) as error:
        load_released_checkpoint(path)
    assert one_line(error).startswith(str(path))


def test_a_file_that_is_cut_edited_or_no_checkpoint_is_refused(tmp_path: Path) -> None:
    content, path = saved(tmp_path).read_bytes(), tmp_path / "bad.pth"
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for bad in (b"", content[: len(content) // 2], content[:-50], bytes(flipped), b"a text", b"\x80\x02}q\x00."):
        path.write_bytes(bad)
        with pytest.raises(InputError, match=r"bad\.pth: ") as error:
            load_released_checkpoint(path)
        one_line(error)
    os.mkfifo(tmp_path / "pipe.pth")
    for place, kind in ((tmp_path, "a folder"), (tmp_path / "pipe.pth", "a pipe"), (Path("/dev/zero"), "a pipe")):
        with pytest.raises(InputError, match=f"{kind}.*, not a file; save it again"):
            load_released_checkpoint(place)


def repacked(source: Path, target: Path, compression: int, edit: Callable[[bytes], bytes]) -> Path:
    """The archive of a checkpoint, written anew with another pickle in it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, edit(old.read(name)) if name.endswith("data.pkl") else old.read(name))
    return target


def test_an_archive_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    """A tensor that is longer than its entry would read memory that is not its own."""
    path = tmp_path / "few.pth"
    torch.save({"state_dict": {"a": torch.zeros(300)}}, path)

    def longer(content: bytes) -> bytes:
        short = b"M" + (300).to_bytes(2, "little")
        assert short in content
        return content.replace(short, b"J" + (10**9).to_bytes(4, "little"))

    for compression, edit, message in (
        (zipfile.ZIP_STORED, longer, "storage 0 claims 1,000,000,000 numbers, more than are there"),
        (zipfile.ZIP_DEFLATED, bytes, "a compressed archive"),
        (
            zipfile.ZIP_STORED,
            lambda content: content + bytes(10**7),
            "of names and plain values, more than",
        ),
    ):
        with pytest.raises(InputError, match=message):
            load_released_checkpoint(repacked(path, tmp_path / "repacked.pth", compression, edit))


def test_nothing_but_tensors_is_unpickled(tmp_path: Path) -> None:
    class Stranger:
        pass

    globals()["Stranger"] = Stranger
    Stranger.__qualname__ = "Stranger"
    torch.save({"state_dict": released_state(layers=1), "arguments": Stranger()}, tmp_path / "odd.pth")
    with pytest.raises(InputError, match="cannot be read as a checkpoint of tensors and plain values"):
        load_released_checkpoint(tmp_path / "odd.pth")


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.pth: no such file"):
        load_released_checkpoint(tmp_path / "nowhere.pth")


def test_as_released_is_the_same_class_as_described() -> None:
    """The released reading is a configuration, not another model: FFN_t of 420-466-512, FFN_s of six layers."""
    config = ModelConfig.as_released().replace(pretrained=None, width=24, depth=1, heads=2, size=32)
    model = CityGuessr(config, Taxonomy.cityguessr68k())
    assert [layer.out_features for layer in model.ffn_t if hasattr(layer, "out_features")] == [466, 512]
    assert [layer.out_features for layer in model.ffn_s if hasattr(layer, "out_features")] == [256, 128, 64, 32, 16, 16]
