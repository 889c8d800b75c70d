"""The streets of a city and the ways through them, in km east and north of its centre.

The net is a grid that was turned, bent and jittered: junctions some 200 metres apart, straight streets between them.
A way goes from junction to junction, mostly straight on, and never comes back to one that it has passed.
"""

import itertools
import math
import random

import numpy as np
import torch
from numpy.typing import NDArray

from cityguessr.miniworld import noise
from cityguessr.miniworld.tracks.field import Field

RADIUS_KM = 3.0  # nothing is farther from the centre
_MARGIN_KM = 0.05
_BEND_KM, _BEND_HALF_KM, _JITTER = 0.12, 1.6, 0.10  # how far streets swing, over which distance; share of a block
_STRAIGHT = 1.6  # how much a way prefers to go straight on

Node = tuple[int, int]
Street = tuple[Node, Node]
Point = tuple[float, float]


class StreetNet:
    """The junctions of a city, at `places[node]` in km; `block_km` is the mean distance between neighbours."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.block_km = rng.uniform(0.17, 0.23)
        turn, steps = rng.uniform(0, math.pi / 2), math.ceil(1.3 * RADIUS_KM / self.block_km)
        nodes = list(itertools.product(range(-steps, steps + 1), repeat=2))
        grid = torch.tensor(nodes, dtype=torch.float64)
        jitter = noise.uniform(noise.key(seed, "jitter"), grid[:, :1], torch.arange(2)[None] + 2 * grid[:, 1:])
        flat = self.block_km * (grid + _JITTER * (2 * jitter.double() - 1))
        flat = flat @ torch.tensor([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]).double()
        flat = flat + _BEND_KM * Field(seed, ("bend east", "bend north"), _BEND_HALF_KM)(flat)
        inside = (flat.norm(dim=1) < RADIUS_KM - _MARGIN_KM).tolist()
        self.places: dict[Node, Point] = {
            node: (place[0], place[1]) for node, place, is_in in zip(nodes, flat.tolist(), inside, strict=True) if is_in
        }

    def neighbours(self, node: Node) -> list[Node]:
        """The junctions at the other ends of a junction's streets."""
        i, j = node
        return [n for n in ((i + 1, j), (i, j + 1), (i - 1, j), (i, j - 1)) if n in self.places]

    def way(self, rng: random.Random, length_km: float, through: Street | None = None) -> NDArray[np.float64]:
        """The junctions of a way at least so long: float64 (n, 2), in km.

        Args:
            through: a street that the way takes, in this direction, somewhere in its middle half; any by default.
        """
        while True:
            if through is None:
                start = rng.choice(list(self.places))
                nodes = self._walk(rng, [start], length_km, set())
            else:
                before = rng.uniform(0.25, 0.75) * length_km
                back = self._walk(rng, list(reversed(through)), before, set())
                ahead = back and self._walk(rng, list(through), length_km - before, set(back))
                nodes = ahead and [*reversed(back[2:]), *ahead]
            if nodes is not None:
                return np.array([self.places[node] for node in nodes])

    def _walk(self, rng: random.Random, begun: list[Node], length_km: float, passed: set[Node]) -> list[Node] | None:
        """Go on from the end of what is begun, for so long, past no junction twice; None where that is a dead end."""
        nodes, left = list(begun), length_km
        passed = passed | set(begun)
        while left > 0:
            here = self.places[nodes[-1]]
            ahead = [node for node in self.neighbours(nodes[-1]) if node not in passed]
            if not ahead:
                return None
            angles = [_angle(here, self.places[node]) for node in ahead]
            heading = _angle(self.places[nodes[-2]], here) if len(nodes) > 1 else 0.0
            weights = [math.exp(_STRAIGHT * math.cos(angle - heading)) if len(nodes) > 1 else 1.0 for angle in angles]
            (node,) = rng.choices(ahead, weights)
            left -= math.dist(here, self.places[node])
            passed.add(node)
            nodes.append(node)
        return nodes


def _angle(start: Point, end: Point) -> float:
    return math.atan2(end[1] - start[1], end[0] - start[0])


class Way:
    """Places along a way by the metres from its start; beyond either end it goes straight on.

    Args:
        corners: its junctions, float64 (n, 2), in km.
    """

    def __init__(self, corners: NDArray[np.float64]) -> None:
        self.corners = corners
        steps = np.diff(corners, axis=0)
        lengths = np.hypot(*steps.T)
        self.ends = 1000 * np.concatenate([[0.0], lengths.cumsum()])  # metres from the start to every junction
        self.directions = steps / lengths[:, None]

    def street(self, metres: NDArray[np.float64]) -> NDArray[np.int64]:
        """The number of the street on which each place lies."""
        return np.clip(np.searchsorted(self.ends, metres, side="right") - 1, 0, len(self.directions) - 1)

    def places(self, metres: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places in km, (n, 2)."""
        street = self.street(metres)
        return self.corners[street] + ((metres - self.ends[street]) / 1000)[:, None] * self.directions[street]

    def headings(self, metres: NDArray[np.float64]) -> NDArray[np.float64]:
        """Directions of travel in degrees clockwise from north, in [0, 360)."""
        east, north = self.directions[self.street(metres)].T
        return np.degrees(np.arctan2(east, north)) % 360

    def stops(self, start: float, gaps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metres along the way of a stop at `start` and of further ones, each so many metres from the last as the crow
        flies (a way round a corner is longer)."""
        stops = [start]
        for gap in gaps:
            ahead = stops[-1] + gap + np.arange(0.0, 1.5 * gap, 0.25)
            away = 1000 * np.hypot(*(self.places(ahead) - self.places(np.array(stops[-1:]))).T)
            stops.append(float(ahead[np.argmax(away >= gap - 1e-6)]))
        return np.array(stops)
