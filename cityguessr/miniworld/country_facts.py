"""Plain facts about countries: the side they drive on, their centre lines, scripts and climates."""

import torch

# ISO 3166 codes, among the 91 countries of the data set. Sources: common knowledge, as any road atlas gives it.
DRIVES_LEFT = frozenset("AU BB BD BN BS BT BW CY GB ID IE IN JP KE LK MY NP NZ PK TH UG ZA ZM ZW".split())  # noqa: SIM905
YELLOW_CENTRE = frozenset(
    "AR BB BO BR BS BZ CA CL CN CO CU EC GT JP KR KP MX PE PH TH TW US UY VE VN ZA ET AE KW QA SA BH OM".split()  # noqa: SIM905
)
ARID = frozenset("AE AF BH DJ EG IL IQ JO KW KZ LY OM PK QA SA SD SO SY BW".split())  # noqa: SIM905
SCRIPTS = ("latin", "cyrillic", "greek", "arabic", "hebrew", "indic", "southeast", "han", "hangul", "ethiopic")
_SCRIPT = {
    "cyrillic": "BG BY KZ RS RU",
    "greek": "CY GR",
    "arabic": "AE AF BH DJ EG IQ JO KW LB LY OM PK QA SA SD SY",
    "hebrew": "IL",
    "indic": "BD IN NP BT",
    "southeast": "KH LK TH",
    "han": "CN JP TW",
    "hangul": "KP KR",
    "ethiopic": "ET",
}
_SCRIPT_OF = {code: script for script, codes in _SCRIPT.items() for code in codes.split()}


def script(iso2: str) -> str:
    """The script that most street signs of a country use (one of SCRIPTS); "latin" where nothing else is known."""
    return _SCRIPT_OF.get(iso2, "latin")


def warmth(latitude: float) -> float:
    """How warm a latitude is in [0, 1]: 1 within the tropics, 0 at 62 degrees and beyond."""
    if latitude != latitude:
        return 0.5
    return float(torch.tensor((62 - abs(latitude)) / 40).clamp(0, 1))
