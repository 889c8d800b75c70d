"""When two spellings are one name: São Paulo and Sao_Paulo, typed by a person, by a Mac or by a spreadsheet."""

import re
import unicodedata

from cityguessr.base.errors import InputError

_KINDS = {
    *("canton", "county", "department", "district", "division", "emirate", "governorate", "metropolis", "metropolitan"),
    *("municipality", "of", "oblast", "prefecture", "province", "region", "state", "the", "voivodeship"),
}
"""Words that say what kind of state a state is: Abu Dhabi Emirate is Abu Dhabi. `City` is none of them: Mexico City."""


def composed(text: str) -> str:
    """A name with each letter and its accent in one character, as all but Macs write it (Unicode's form NFC)."""
    return unicodedata.normalize("NFC", text)


def key(text: str) -> str:
    """What names share that differ in case, in `_` for a blank, or in how Unicode writes their accents."""
    return " ".join(composed(text).replace("_", " ").casefold().split())


def plain(text: str) -> str:
    """As `key`, without accents: what names share that are typed with and without them."""
    return "".join(c for c in unicodedata.normalize("NFKD", key(text)) if not unicodedata.combining(c))


def state_key(text: str) -> str:
    """As `plain`, without hyphens and the words for a kind of state: Ile de France and Île-de-France Region are one."""
    words = re.split(r"[\s-]+", plain(text))
    return " ".join(word for word in words if word not in _KINDS) or plain(text)


def same_place(level: str, known: str, name: str) -> bool:
    """Whether two names of a state, country or continent are one: accents, and words as in `X Province`, may lack."""
    alike = state_key if level == "state" else plain
    return alike(known) == alike(name)


def parts_of_path(name: str) -> list[str]:
    """A city and what it lies in, nearest first, from `San Jose, Costa Rica` or `Costa Rica/San Jose`."""
    parts = name.split("/")[::-1] if "/" in name else name.split(",")
    return [part.strip() for part in parts]


def folder_name(name: str, where: str) -> str:
    """A city's name as that of its folder: `_` for blanks. Raises InputError, with `where`, for what cannot be that."""
    folder = name.replace(" ", "_")
    if not folder or folder[0] == "." or "/" in folder or "\\" in folder or len(folder.encode()) > 200:
        raise InputError(f"{where}: {name[:100]!r} is no city's name that a folder can have; correct the line")
    return folder
