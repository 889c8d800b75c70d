"""Files of tensors from anywhere: nothing but tensors and plain values is read, and no more than the file holds.

A file of `torch.save` says itself how large its tensors are. It is believed only after its claims were held against
what is there, so that a damaged or made-up file neither fills the memory nor has a tensor read what is not its own.
"""

import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cityguessr.base.digests import regular
from cityguessr.base.errors import InputError

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""The types that weights may have."""

# Names of storages -> bytes of a number; all others have one.
_WIDTHS = {"HalfStorage": 2, "BFloat16Storage": 2, "ShortStorage": 2, "FloatStorage": 4, "IntStorage": 4}
_WIDTHS |= {"DoubleStorage": 8, "LongStorage": 8, "ComplexFloatStorage": 8, "ComplexDoubleStorage": 16}
_PICKLE = 8 * 1024**2  # bytes: names, shapes and plain values; a network of 1,000 tensors takes some 100 kB
_OLD_FORMAT = 1024**3  # bytes of a file in the format before torch 1.6, which is read whole


def read(path: str | os.PathLike[str], remedy: str, mapped: bool = False) -> Any:
    """What a file of `torch.save` or of safetensors holds, on the CPU.

    Args:
        remedy: what to do about a file that cannot be read, as the end of a sentence.
        mapped: whether tensors are read from the disk only as they are used, which spares those that are not.

    Raises InputError, naming the file, where it is missing, empty, no regular file, cut, compressed, or holds anything
    but tensors and plain values.
    """
    size = regular(path, remedy)
    try:
        with open(path, "rb") as file:
            head = file.read(9)
        if head[:4] == b"PK\x03\x04":
            _check_archive(path, size)
            with warnings.catch_warnings(action="ignore"):  # of sparse tensors, which are refused by name later
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        if head[8:] == b"{":
            return load_file(path)
        if size > _OLD_FORMAT:
            raise InputError(f"{size:,} bytes in the format before torch 1.6")
        return torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        reason = str(error)
    except pickle.UnpicklingError:  # what torch says of it advises to unpickle everything
        reason = "it holds other objects than these, or is damaged"
    except MemoryError:
        reason = "it asks for more memory than there is"
    except RecursionError:
        reason = "its values are nested too deep"
    except (RuntimeError, OSError, InputError, EOFError, zipfile.BadZipFile) as error:
        reason = (str(error) or "it is cut short").splitlines()[0]
    except Exception:  # pickle raises errors of any type for what is none of its files
        reason = "it is damaged, or something else"
    raise InputError(f"{path}: cannot be read as a checkpoint of tensors and plain values ({reason}); {remedy}")


def weights(
    path: object, state: Mapping[str, Any], remedy: str, shapes: Mapping[str, torch.Size] | None = None
) -> dict[str, Tensor]:
    """Weights as they may be used: by name, float32, every number finite.

    Args:
        path: what to call their file in a message.
        shapes: name -> the shape that is needed; other names are left as they are. None: every shape will do.

    Half and double precision are converted. Raises InputError, naming the tensor, for anything that is no dense tensor
    of floating-point numbers, has another shape, claims more numbers than are stored, or holds NaN or infinity.
    """
    for name, value in state.items():
        if not isinstance(name, str):
            raise InputError(f"{path}: a tensor is called {name!r}, where names are text; {remedy}")
        if (wrong := _wrong(value)) is not None:
            raise InputError(f"{path}: {name} {wrong}; {remedy}")
        if shapes is not None and name in shapes and value.shape != shapes[name]:
            raise InputError(
                f"{path}: {name} has the shape {tuple(value.shape)}, {tuple(shapes[name])} is needed; {remedy}"
            )
    converted = {}
    for name, value in state.items():
        converted[name] = value.detach().to(torch.float32, copy=True).contiguous()  # nothing is left in the file
        if not finite(converted[name]):
            raise InputError(f"{path}: {name} holds numbers that are not finite (NaN or infinity); {remedy}")
    return converted


def finite(tensor: Tensor) -> bool:
    """Whether all numbers of a floating-point tensor are finite; no copy of it is made."""
    if not tensor.numel():
        return True
    low, high = tensor.detach().aminmax()
    return bool(low.isfinite() and high.isfinite())


def first_not_finite(state: Mapping[str, Tensor]) -> str | None:
    """The name of the first floating-point tensor that holds NaN or infinity."""
    return next((name for name, value in state.items() if value.is_floating_point() and not finite(value)), None)


def _wrong(value: object) -> str | None:
    """Why something cannot be a weight."""
    if not isinstance(value, Tensor):
        return f"is of the type {type(value).__name__} and not a tensor"
    if value.layout != torch.strided or value.is_nested:
        return "is a sparse tensor; weights are dense"
    if value.is_meta:
        return "has a shape and no content (a tensor of the meta device)"
    if value.dtype not in FLOATS:
        return f"is of the type {str(value.dtype).removeprefix('torch.')}; weights are floating-point numbers"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return f"claims {value.numel():,} numbers, more than are stored"
    return None


def _check_archive(path: str | os.PathLike[str], size: int) -> None:
    """Raise InputError where the entries of an archive are not what a checkpoint has, or tensors claim more of them."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise InputError("a compressed archive, where torch.save compresses nothing")
        if sum(entry.file_size for entry in entries) > size:
            raise InputError("its entries claim more bytes than the file has")
        sizes = {entry.filename: entry.file_size for entry in entries}
        if len(sizes) < len(entries):
            raise InputError("two of its entries have the same name")
        if archive.testzip() is not None:
            raise InputError("an entry does not match its checksum: the file is damaged")
        pickles = [name for name in sizes if name.endswith("data.pkl") and name.count("/") <= 1]
        if len(pickles) != 1:
            raise InputError("an archive, but none of torch.save")
        if sizes[pickles[0]] > _PICKLE:
            raise InputError(f"{sizes[pickles[0]]:,} bytes of names and plain values, more than any network has")
        folder = pickles[0].removesuffix("data.pkl")
        with archive.open(pickles[0]) as file:
            for key, numbers, width in _Claims(file).claims():
                if numbers * width > sizes.get(f"{folder}data/{key}", -1):
                    raise InputError(f"storage {key} claims {numbers:,} numbers, more than are there")


class _Anything(dict):
    """Stands for whatever a pickle names, and does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None: ...


class _Claims(pickle._Unpickler):  # in Python: the one in C makes room for any number of remembered objects
    """Reads a pickle without making what it describes, to learn what its tensors claim to be stored as."""

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self._found: list[tuple[str, int, int]] = []

    def claims(self) -> list[tuple[str, int, int]]:
        """(storage, how many numbers, bytes of each), for every mention of a storage."""
        self.load()
        return self._found

    def find_class(self, module: str, name: str) -> Any:
        return _WIDTHS.get(name, 1) if name.endswith("Storage") else _Anything

    def persistent_load(self, pid: Any) -> Any:
        _, kind, key, _, numbers = pid
        self._found.append((str(key), int(numbers), kind if isinstance(kind, int) else 1))
        return _Anything()
