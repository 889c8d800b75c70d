"""Pretrained weights: what there is, where it is looked for, and what to do where it is missing.

They stand in `data/weights/`: a checkpoint of the hub in a folder of the last part of its name, anything else as one
file. What is not there is looked for in the hub's cache, and fetched only where a parameter allows it.

Names that begin with `miniworld/` are those of the small profiles. They come with the package, and are never fetched.
"""

import contextlib
import dataclasses
import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from cityguessr.base import digests, paths
from cityguessr.base.errors import InputError, MissingWeights
from cityguessr.base.tables import read_json
from cityguessr.base.tensors import first_not_finite

PACKAGED = "miniworld/"
"""What the names of weights begin with that come with the package."""
PACKAGE = Path(__file__).parents[1] / "pretraining" / "weights"
"""Where those stand, one folder for each."""
PROVENANCE = "provenance.json"
"""Where packaged weights come from, and the digests of their files."""

_MAKE = "python -m cityguessr.pretraining {path.name}"
_SAVE = (  # whatever form the hub keeps them in, this writes config.json, model.safetensors and the tokenizer
    'python -c "from transformers import AutoModel, AutoTokenizer; '
    "[part.from_pretrained('{name}').save_pretrained('{path}') for part in (AutoModel, AutoTokenizer)]\""
)
_UNIFACE = (
    'python -c "from uniface.model_store import verify_model_weights as get; from uniface.constants import '
    "RetinaFaceWeights as W; get(W.RESNET34, root='{path.parent}')\""
)
_WHEEL = "pip download geoclip==1.3.0 --no-deps --dest {path.parent}"
_CURL = "curl --create-dirs -o {path} http://places2.csail.mit.edu/models_places365/resnet50_places365.pth.tar"


@dataclasses.dataclass(frozen=True)
class Weights:
    """Published weights that a part of the project starts from.

    Attributes:
        megabytes: size of the download, about.
        purpose: what needs them.
        command: brings them where there is a network, with {name} and {path} in it.
        title: what is in a file; a checkpoint is known by its name on the hub.
    """

    megabytes: int | None
    purpose: str
    command: str = "hf download {name} --local-dir {path}"
    title: str = ""


TABLE: dict[str, Weights] = {
    "MCG-NJU/videomae-small-finetuned-kinetics": Weights(90, "CityGuessr and every table"),
    "ViT-B-32-openai.safetensors": Weights(
        600, "Tables 6 and S2; Table 3, city only", title="CLIP ViT-B/32, its text encoder"
    ),
    "facebook/vit-mae-base": Weights(450, "images: Table 2, PlaNet, ISNs, GeoDecoder"),
    "facebook/timesformer-base-finetuned-k400": Weights(490, "TimeSformer in Table 5"),
    "google-bert/bert-base-uncased": Weights(440, "Table S2", _SAVE),
    "openai-community/gpt2": Weights(550, "Table S2", _SAVE),
    "facebook/opt-125m": Weights(250, "Table S2", _SAVE),
    "openai/clip-vit-large-patch14": Weights(1710, "VidTAG and GeoCLIP: frames"),
    "facebook/dinov2-with-registers-large": Weights(1220, "VidTAG: frames"),
    "google/siglip-base-patch16-256-multilingual": Weights(1480, "VidTAG's encoder ablation"),
    "geoclip-1.3.0-py3-none-any.whl": Weights(
        40, "VidTAG and GeoCLIP: coordinates", _WHEEL, "GeoCLIP's location encoder, in its wheel"
    ),
    "retinaface_r34.onnx": Weights(56, "blurring faces: `42_faces`", _UNIFACE, "RetinaFace, ResNet-34"),
    "resnet50_places365.pth.tar": Weights(
        97,
        "scenes of frames: Tables 6 and S1, ISNs, GeoDecoder",
        _CURL,
        "ResNet-50 of Places365",
    ),
}
"""Name on the hub, or of a file -> the weights that the project knows of."""
_OTHER = Weights(None, "any other checkpoint of the hub")


def markdown() -> str:
    """The table of weights as notebooks/guide/real_data.md prints it."""
    rows = ["| weights | size | for |", "|---|--:|---|"]
    for name, known in TABLE.items():
        title = f"`{name}` ({known.title})" if known.title else f"`{name}`"
        rows.append(f"| {title} | {known.megabytes}&nbsp;MB | {known.purpose} |")
    return "\n".join(rows)


def place(name: str) -> Path:
    """Where weights are looked for first: the file or folder of the last part of their name in `data/weights/`.

    Those whose name begins with `miniworld/` stand in the package.
    """
    if name.startswith(PACKAGED):
        return PACKAGE / Path(name).name
    return paths.data() / "weights" / Path(name).name


def command(name: str, path: Path | None = None) -> str:
    """The command that brings weights to a place, by default to where they are looked for."""
    path = path or place(name)
    template = _MAKE if name.startswith(PACKAGED) else TABLE.get(name, _OTHER).command
    return template.format(name=name, path=path)


def version(name: str | None) -> str | None:
    """A digest of a checkpoint's file in `place(name)`; the bare name for one that the hub keeps, None for None."""
    if name is None:
        return None
    for file in (place(name) / "model.safetensors", place(name) / "pytorch_model.bin"):  # the first one counts
        if file.is_file():
            return sha256(file)
    return name


def sha256(file: Path) -> str:
    """The SHA-256 digest of a file."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def missing(
    name: str,
    purpose: str = "",
    allow_downloads: bool | None = None,
    *,
    path: Path | None = None,
    how: str | None = None,
    megabytes: int | None = None,
    lacks: str = "",
) -> MissingWeights:
    """The error for weights that are not here: which, how large, where they belong, and what brings them there.

    Args:
        purpose: what needs them, where the first words of the message should say so.
        allow_downloads: whether fetching was allowed, and failed; None where no parameter could allow it.
        path, how, megabytes: place, command and size, where they are not those of the table.
        lacks: the files that the folder is short of.
    """
    path, megabytes = path or place(name), megabytes or TABLE.get(name, _OTHER).megabytes
    size = f" (about {megabytes:,} MB)" if megabytes else ""
    state = "could not be fetched" if allow_downloads else "are not on this machine"
    return MissingWeights(
        f"{purpose and f'{purpose}: '}the weights {name!r} {state}: {path}"
        + (f" lacks {lacks}{size}" if lacks else f"{size} is missing")
        + (
            f"; they come with the package, and `{how or command(name, path)}` makes them anew"
            if name.startswith(PACKAGED)
            else f"; where there is a network, `{how or command(name, path)}` brings them"
            + (", or set allow_downloads=True" if allow_downloads is False else "")
        )
    )


def check(name: str | None, allow_downloads: bool) -> None:
    """Raise MissingWeights where a checkpoint is neither in its folder nor in the hub's cache and may not be fetched.

    Nothing is read, so that damage is not found. None, random weights, is always there.
    """
    if name is None or allow_downloads or not (lacks := _lacking(name)):
        return
    from huggingface_hub import try_to_load_from_cache

    try:
        cached = isinstance(try_to_load_from_cache(name, "config.json"), str)
    except ValueError:  # no name on the hub
        cached = False
    if not cached:
        raise missing(name, allow_downloads=False, lacks=" and ".join(lacks))


def _lacking(name: str, pickles: bool = True) -> list[str]:
    """What the folder of a checkpoint is short of, as the end of a message."""
    local, stems = place(name), ["model*.safetensors", *(["pytorch_model*.bin"] if pickles else [])]
    lacks = [] if (local / "config.json").is_file() else ["config.json"]
    if not any(file for stem in stems for file in local.glob(stem)):
        lacks.append(" or ".join(stems).replace("*", ""))
    return lacks


def packaged(name: str) -> dict[str, Any]:
    """The provenance of weights that come with the package, once their files were held against it.

    Raises MissingWeights where a file is missing, and InputError where one is not the one that was written.
    """
    folder, remedy = place(name), f"bring the package's own files again, or make new ones with `{command(name)}`"
    names = ("config.json", "model.safetensors", PROVENANCE)
    if lost := [file for file in names if not (folder / file).is_file()]:
        raise missing(name, lacks=" and ".join(lost))
    record = read_json(folder / PROVENANCE)
    files = record.get("files")
    for file in names[:-1]:
        digests.read_recorded(folder / file, files.get(file) if isinstance(files, dict) else None, remedy)
    return record


@contextlib.contextmanager
def reading(name: str, allow_downloads: bool, purpose: str = "", pickles: bool = True) -> Iterator[str]:
    """A folder or hub name to read a checkpoint from, quietly, with one clear message for whatever goes wrong.

    Args:
        name: on the hub, or a folder.
        purpose: as in `missing`.
        pickles: whether weights in `pytorch_model.bin` are good enough.

    Raises MissingWeights where it is not on this machine, and InputError where its files are damaged or incomplete,
    or are not those that the provenance of packaged weights names.
    """
    if name.startswith(PACKAGED):
        packaged(name)
    lacks = _lacking(name, pickles)
    source = name if lacks else str(place(name))
    try:
        with quietly():
            yield source
    except InputError:
        raise
    except (SafetensorError, EOFError, pickle.UnpicklingError, RuntimeError) as error:
        if type(error) is RuntimeError and "PytorchStreamReader" not in str(error):
            raise  # it is not about the file
        reason = str(error).split(". ")[0]
        raise InputError(f"{source}: the weights are damaged ({reason}); fetch the file again") from None
    except (OSError, KeyError, ValueError) as error:
        if isinstance(error, OSError) and not Path(source).is_dir():
            raise missing(name, purpose, allow_downloads, lacks=" and ".join(lacks)) from None
        raise InputError(
            f"{source}: cannot be loaded ({type(error).__name__}: {str(error).splitlines()[0]}); bring all of its "
            f"files again with `{command(name)}`"
        ) from None


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Silences transformers within the block: its bars go to standard error, and unused heads are no news."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def load(model_class: Any, source: str, name: str, spare: str | None = None, **options: Any) -> Any:
    """A transformers network, of which every weight came from the checkpoint.

    Some releases of transformers (5.6 to 5.16) load VideoMAE with the query and value biases left at zero and say
    nothing; a partial load must never pass for a pretrained model.

    Args:
        source: what `reading` gave for this name.
        spare: part of the names of weights that may be missing.
        options: of `from_pretrained`.

    Raises InputError where a weight is missing, has another shape, or is not finite.
    """
    model, report = model_class.from_pretrained(
        source, output_loading_info=True, ignore_mismatched_sizes=True, **options
    )
    keys = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
    lost = [key for key in keys if spare is None or spare not in key]
    if lost:
        raise InputError(
            f"{source}: {len(lost)} encoder weights are not in the checkpoint or have another shape, the first being "
            f"{lost[0]}; bring it again with `{command(name)}`, and use the transformers version that env/ pins"
        )
    if bad := first_not_finite(model.state_dict()):
        raise InputError(
            f"{source}: {bad} holds numbers that are not finite (NaN or infinity); bring the weights again with "
            f"`{command(name)}`"
        )
    return model
