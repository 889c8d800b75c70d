"""The districts of a city: its style, moved by smooth fields of the place, and a few landmarks.

Three ways lead from a field to the picture. What the renderer builds house by house (heights, roofs, trees, parked
cars, the scenes that follow one another) has a trait at every place,

    trait(place) = sqrt(1 - MOVED) * trait(city) + sqrt(MOVED) * field(place),

which over all cities is standard normal, as the city's is. What it paints once for a city (walls, windows, roads,
leaves) comes in several kinds, each with traits of its own drawn in the same manner, and fields say how frequent each
kind is at a place: the mean of such a trait over the houses of a place is a smooth field, too. And roads, their verges
and walls each have a tint of the place. Hour, weather, exposure and the order of houses have nothing to do with it.
"""

import dataclasses
import math
import random
import statistics

import torch
from torch import Tensor

from cityguessr.miniworld import noise
from cityguessr.miniworld.plan import INDOOR, SCENE_WEIGHTS
from cityguessr.miniworld.style import Style
from cityguessr.miniworld.tracks.field import Field
from cityguessr.miniworld.tracks.net import RADIUS_KM, Point, Street, StreetNet

MOVED = 0.7  # share of a trait's variance that belongs to the place
# Traits of what is built house by house. The others of this sort (width of the street and of a plot, dashes of the
# centre line, hills, haze, sky) stay the city's: a street has them from end to end.
BUILT = ("height", "height_spread", "gable", "green", "water", "trees", "traffic", "poles")
PAINTED = (
    "material", "columns", "window_width", "window_height", "storeys", "arches", "shutters", "balconies", "awnings",
    "glass", "ornament", "wall_hue", "wall_chroma", "wall_light", "wall_spread", "trim", "accent", "paving_hue",
    "paving_light", "paving_pattern", "asphalt", "asphalt_warm", "edge_line", "tree_shape", "green_hue",
)  # fmt: skip
KINDS = {"front": 6, "house": 3, "tree": 4, "road": 5}
_PURITY = 4.0  # how much the kind that is most at home in a place prevails there
_CITY_TASTE, _LOCAL_TASTE = 0.3, 2.5  # for scenes, of the logarithm of their frequency
LANDMARKS, _SHAPES = 6, 10  # at most in a city; shapes that `sprites.paint_landmark` picks from
SIGHT = 200.0  # metres from which a landmark is seen
_APART_KM = 0.8
# Of the stone, sand and paint of a place, in logarithms of red, green and blue: warm to cool, green to purple, light.
_TINTS = ((0.28, 0.0, -0.28), (-0.075, 0.15, -0.075), (0.18, 0.18, 0.18))
_MOST = 1.7  # standard deviations of a tint, which no place exceeds: more would be garish
_NORMAL = statistics.NormalDist()


@dataclasses.dataclass(frozen=True)
class Landmark:
    """A tall thing beside a street.

    Attributes:
        number: in its city.
        street: beside whose middle it stands.
        place: in km east and north of the centre.
        size: metres, high and wide.
    """

    number: int
    street: Street
    place: Point
    size: float


class Districts:
    """What a city looks like at each of its places.

    Attributes:
        style: of the city as a whole; net: its streets.
        kinds: "front", "house", "tree" and "road" -> the styles in which its kinds are painted.
        landmarks: what is seen within `SIGHT` metres only.
    """

    def __init__(self, style: Style, landmarks: int, seed: int) -> None:
        self.style = style
        self._key = key = noise.key(style.key, "districts", seed)
        self.net = StreetNet(noise.key(key, "streets"))
        self.kinds = {what: self._draw_kinds(what, count) for what, count in KINDS.items()}
        self.landmarks = self._place_landmarks(landmarks)
        self._traits = Field(key, BUILT)
        self._shares = {what: Field(key, [f"{what} {k}" for k in range(count)]) for what, count in KINDS.items()}
        self._tints = Field(key, [f"tint of {what} {axis}" for what in ("road", "verge", "walls") for axis in range(3)])
        self._tastes = Field(key, [f"scene {kind}" for kind in range(16)])
        taste = noise.normal(noise.key(style.key, "scenes"), 16).double()
        self._scene_weights = torch.tensor(SCENE_WEIGHTS).double().log() + _CITY_TASTE * taste
        self._scene_weights[list(INDOOR)] = -math.inf  # under a roof nothing of a district is seen

    def styles(self, km: Tensor) -> list[Style]:
        """The style of what is built at some places, (n, 2) in km."""
        own, styles = self.style.traits, []
        for values in self._traits(km).tolist():
            local = {t: _blend(own[t], value) for t, value in zip(BUILT, values, strict=True)}
            styles.append(dataclasses.replace(self.style, traits=own | local))
        return styles

    def shares(self, what: str, km: Tensor) -> Tensor:
        """How frequent each kind of `what` is at some places: float64 (n, kinds), rows that add up to one."""
        return (_PURITY * self._shares[what](km)).softmax(1)

    def tints(self, km: Tensor) -> Tensor:
        """Factors on red, green and blue of the road, its verges and the walls at some places: float64 (9, n)."""
        soft = _MOST * torch.tanh(self._tints(km) / _MOST)
        return torch.exp(soft.view(-1, 3, 3) @ torch.tensor(_TINTS).double()).flatten(1).T

    def scene_weights(self, km: Tensor) -> Tensor:
        """How frequent each of the 16 scenes is at some places: float64 (n, 16), rows that add up to one."""
        return (self._scene_weights + _LOCAL_TASTE * self._tastes(km)).softmax(1)

    def landmark_style(self, landmark: Landmark) -> Style:
        """The style in which a landmark is painted: no two of a city are of one shape."""
        shapes = random.Random(noise.key(self._key, "shapes")).sample(range(_SHAPES), LANDMARKS)
        key = noise.key(self._key, "landmark", landmark.number)
        own = dict(zip(("wall_hue", "wall_light", "accent"), noise.normal(key, 3).tolist(), strict=True))
        own["landmark"] = _NORMAL.inv_cdf((shapes[landmark.number] + 0.5) / _SHAPES)
        return dataclasses.replace(self.style, key=key, traits=self.style.traits | own)

    def _draw_kinds(self, what: str, count: int) -> tuple[Style, ...]:
        """The kinds differ as much as they can: each trait takes evenly spread quantiles, dealt to them at random."""
        own, rng = self.style.traits, random.Random(noise.key(self._key, "kinds", what))
        local = {t: rng.sample([_NORMAL.inv_cdf((k + 0.5) / count) for k in range(count)], count) for t in PAINTED}
        moved = [{t: _blend(own[t], local[t][k]) for t in PAINTED} for k in range(count)]
        return tuple(dataclasses.replace(self.style, traits=own | traits) for traits in moved)

    def _place_landmarks(self, count: int) -> tuple[Landmark, ...]:
        """Beside the middle of streets, behind a small square, well apart from each other."""
        rng, net, found = random.Random(noise.key(self._key, "landmarks")), self.net, list[Landmark]()
        while len(found) < count:
            node = rng.choice(list(net.places))
            street = (node, rng.choice(net.neighbours(node)))
            start, end = net.places[street[0]], net.places[street[1]]
            size = rng.uniform(40, 75)
            length = math.dist(start, end)
            aside = rng.choice((-1, 1)) * (self.style.street_half + 6 + 0.3 * size) / 1000 / length
            place = (
                (start[0] + end[0]) / 2 + aside * (end[1] - start[1]),
                (start[1] + end[1]) / 2 - aside * (end[0] - start[0]),
            )
            if math.hypot(*place) < 0.85 * RADIUS_KM and all(
                math.dist(place, other.place) > _APART_KM for other in found
            ):
                found.append(Landmark(len(found), street, place, size))
        return tuple(found)


def _blend(city: float, local: float) -> float:
    return math.sqrt(1 - MOVED) * city + math.sqrt(MOVED) * local


def choose(shares: Tensor, draws: Tensor) -> Tensor:
    """A kind for each draw in [0, 1), (..., n), from the shares at n places, (n, kinds): int64 (..., n)."""
    return (draws[..., None].double() > shares.cumsum(1)[:, :-1]).sum(-1)
