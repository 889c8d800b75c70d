"""Finer scenes: which of Places365's 365 categories a frame shows (supplement, section 1, Table S1).

A synthetic stand-in. Within a scene kind the category follows from things that the renderer draws there and that a
viewer can see: how wide the street is, how light the walls and how high the houses are, hills on the horizon, snow, how
green the land is and which trees grow, whether water or ground lies open on one side or on both, which of the city's
two monuments stand left and right, a crane. Most of these belong to the city's look, so that the category tells more
of the city than the kind does; others belong to the video or to the stretch of street. `TABLE` names the categories by
what they might remind of; nothing in the pictures was drawn to look like them.

Every category of `TABLE` belongs to its kind alone in our own hierarchy of scenes, so that the 365 labels of a frame,
taken together by that hierarchy, are its 16 labels.
"""

import functools
from typing import Any

import torch
from torch import Tensor

from cityguessr import scenes
from cityguessr.miniworld.plan import VideoPlan
from cityguessr.miniworld.style import Style

TABLE: tuple[tuple[tuple[str, ...], Any], ...] = (
    # Indoors: the width of the hall (narrow, middling, wide), then its walls, from dark to light.
    (("width", "walls"), (
        ("bookstore", "coffee_shop", "bakery/shop"),
        ("bazaar/indoor", "food_court", "drugstore"),
        ("department_store", "shopping_mall/indoor", "supermarket"),
    )),
    (("width", "light"), (("repair_shop", "office"), ("server_room", "office_cubicles"),
                          ("assembly_line", "atrium/public"))),
    (("width",), ("bedroom", "hotel_room", "entrance_hall")),
    (("width", "light"), (("train_interior", "bus_interior"), ("subway_station/platform", "bus_station/indoor"),
                          ("parking_garage/indoor", "airport_terminal"))),
    (("width", "light"), (("bowling_alley", "martial_arts_gym"), ("basketball_court/indoor", "gymnasium/indoor"),
                          ("arena/hockey", "ice_skating_rink/indoor"))),
    (("width", "light"), (("catacomb", "art_gallery"), ("movie_theater/indoor", "museum/indoor"),
                          ("church/indoor", "natural_history_museum"))),
    # Water: snow, water on both sides, hills, trees.
    (("snow", "both", "hills", "trees"), (
        ((("beach", "river"), ("lagoon", "lake/natural")), ("ocean", "coast")),
        (("snowfield", "glacier"), "ice_shelf"),
    )),
    # Hills and desert: snow, hills, how green (dry, middling, lush), the colour of the soil.
    (("snow", "hills", "green", "soil"), (
        (
            (("badlands", "desert/sand"), "desert/vegetation", "valley"),
            (("canyon", "butte"), "mountain_path", "cliff"),
        ),
        ("tundra", "mountain"),
    )),
    # Forest: snow, trees of a warm place, how green, hills.
    (("snow", "palms", "green", "hills"), (
        (("hayfield", ("pasture", "forest_path"), "forest/broadleaf"), ("field/wild", "bamboo_forest", "rainforest")),
        "tree_farm",
    )),
    (("hills", "leafy"), (("trench", "boardwalk"), ("windmill", "dam"))),
    # Roads: water (else ground) beside them, on both sides (else cars are parked on the other), the width.
    (("sea", "both", "width"), (
        (("parking_lot", "gas_station", "parking_garage/outdoor"), ("railroad_track", "highway", "runway")),
        (("canal/urban", "landing_deck", "harbor"), ("pier", "lock_chamber", "bridge")),
    )),
    # Monuments: which of the city's two fronts stand left and right, and how high they are.
    (("fronts", "naves"), (
        ("schoolhouse", "museum/outdoor", "castle"),
        ("courthouse", "embassy", "palace"),
        ("library/outdoor", "mausoleum", "church/outdoor"),
    )),
    # Parks: snow, courts on both sides (else on one), how green.
    (("snow", "both", "green"), (
        (("picnic_area", "park", "botanical_garden"),
         ("volleyball_court/outdoor", "athletic_field/outdoor", "soccer_field")),
        ("promenade", "ice_skating_rink/outdoor"),
    )),
    # Industry: a crane where it begins, which of the city's two fronts stand left and right.
    (("crane", "sheds"), (("loading_dock", "industrial_area", "junkyard"),
                          ("water_tower", "construction_site", "excavation"))),
    # Houses: snow, steep roofs, hedges (else fences), a high one.
    (("snow", "steep", "leafy", "fence"), (
        (
            (("manufactured_home", "courtyard"), ("yard", "patio")),
            (("house", "residential_neighborhood"), ("cottage", "mansion")),
        ),
        ("cabin/outdoor", "chalet"),
    )),
    # Commercial streets: the height of the houses, the width.
    (("height", "width"), (
        ("alley", "shopfront", "market/outdoor"),
        ("building_facade", "downtown", "plaza"),
        ("office_building", "hotel/outdoor", "skyscraper"),
    )),
)  # fmt: skip
"""By scene kind: the visible traits that decide, in order, and the category by their values; a name ends the search."""


def label_frames(plan: VideoPlan, style: Style) -> Tensor:
    """The category of every frame of a video: int64 (frames,), 0..364, as numbered by `scenes.categories()`."""
    traits = _visible(plan, style)
    categories: list[int] = []  # by plot, one for each run of a kind
    for plot, kind in enumerate(plan.plots):
        starts = not plot or plan.plots[plot - 1] != kind
        categories.append(_category(kind, traits, plot) if starts else categories[-1])
    return torch.tensor(categories)[plan.plot]


def _category(kind: int, traits: dict[str, int | list[int]], plot: int) -> int:
    names, choice = TABLE[kind]
    for name in names:
        if isinstance(choice, str):
            break
        value = traits[name]
        choice = choice[value[plot] if isinstance(value, list) else value]
    return _ids()[choice]


@functools.cache
def _ids() -> dict[str, int]:
    """Category id by name, without the letter that Places365 puts before it (`/b/bridge`)."""
    return {name[3:]: number for number, name in enumerate(scenes.categories())}


def _visible(plan: VideoPlan, style: Style) -> dict[str, int | list[int]]:
    """What a viewer sees, as small numbers: of the whole video, or of each plot."""
    traits = style.traits

    def third(trait: str) -> int:
        return min(int(style.u(trait, 0, 3)), 2)

    def sides(draw: Tensor) -> list[int]:
        """On how many of the two sides something holds, by plot."""
        return draw.long().sum(0).tolist()

    half = style.road_half
    lush = -1.0 if style.arid else traits["green"]
    return {
        "width": int(half > 4.3) + int(half > 5.4),
        "walls": third("wall_light"),
        "light": int(traits["wall_light"] > 0),
        "height": third("height"),
        "hills": int(traits["relief"] > 0),
        "trees": int(traits["trees"] > 0),
        "palms": int(style.warmth + 0.25 * style.arid > 0.8),
        "green": int(lush > -0.3) + int(lush > 0.5),
        "leafy": int(traits["green"] > 0),
        "soil": int(traits["soil_hue"] > 0),
        "sea": int(traits["water"] > 0),
        "steep": int(traits["gable"] > 0),
        "snow": int(plan.is_snowy(style)),
        "both": [int(count == 2) for count in sides(plan.open_sides)],
        "fronts": sides(plan.draw_by_run("m") >= 0.5),
        "naves": sides(plan.draw_by_run("nave") > 0.5),
        "fence": [int(count > 0) for count in sides(plan.draw_by_run("f") > 0.5)],
        "sheds": sides(plan.draw_by_run("w") >= 0.5),
        "crane": [int(plan.has_mast(plot)) for plot in range(len(plan.plots))],
    }
