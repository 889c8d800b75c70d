"""Hour and weather: where the sun stands, what the sky shines, how thick the air is."""

import dataclasses
import math

from cityguessr.miniworld.plan import VideoPlan
from cityguessr.miniworld.style import Style
from cityguessr.miniworld.tiles.palette import Color, brighten, mix, oklch


@dataclasses.dataclass(frozen=True)
class Light:
    """Light of one video, in linear units where a white wall in full sun is about 1.

    Attributes:
        sun: unit vector towards the sun (right, up, along the street); direct, ambient: colours of sun and sky light.
        zenith, horizon: colours of the sky; haze: share of the view lost per metre.
        cover: clouds in [0, 1]; night: 0 by day to 1 in the dark; wet: 0 dry to 1 raining; disc: how bright the sun
            itself shows; lamp: colour of the lights of the town.
    """

    sun: tuple[float, float, float]
    direct: Color
    ambient: Color
    zenith: Color
    horizon: Color
    haze: float
    cover: float
    night: float
    wet: float
    disc: float
    lamp: Color


def make(plan: VideoPlan, style: Style) -> Light:
    """The light of a video."""
    day = math.sin(math.pi * (plan.hour - 6) / 12)  # of the sun's height: 1 at noon, 0 at six
    noon = 0.55 + 0.40 * style.warmth
    height = max(day, 0.0) * noon
    elevation = math.asin(min(0.97, max(height, 0.05)))
    # The sun goes from east through the equator's side to west; turn it into the street's own directions.
    lat_sign = 1 if plan.start[0] != plan.start[0] or plan.start[0] >= 0 else -1
    bearing = 90 + 15 * (plan.hour - 6) if lat_sign > 0 else 90 - 15 * (plan.hour - 6)
    turn = math.radians(bearing - plan.heading)
    flat = math.cos(elevation)
    sun = (math.sin(turn) * flat, math.sin(elevation), math.cos(turn) * flat)

    night = min(max((0.12 - day) / 0.30, 0.0), 1.0)
    low = math.exp(-((day / 0.32) ** 2))  # a low sun is warm
    gloom = {"clear": 0.0, "clouds": 0.22, "overcast": 0.9, "rain": 1.0, "fog": 1.0}[plan.weather]
    strength = (1 - 0.92 * gloom) * min(max(day * 3.5, 0.0), 1.0) * (1 - 0.35 * low)
    warm = mix((1.0, 0.95, 0.86), (1.0, 0.58, 0.28), low)
    direct = brighten(warm, 1.35 * strength)

    tint = style.u("sky", -0.06, 0.06)
    blue, pale = oklch(0.60, 0.12, 0.68 + tint), oklch(0.86, 0.035, 0.66 + tint)
    glow = oklch(0.78, 0.12, 0.13 + 0.5 * abs(tint))
    zenith, horizon = mix(blue, oklch(0.42, 0.09, 0.75), low * 0.6), mix(pale, glow, low * 0.75)
    grey = {"rain": 0.62, "fog": 0.80}.get(plan.weather, 0.76)
    zenith = mix(zenith, oklch(grey, 0.012, 0.68), gloom * 0.95)
    horizon = mix(horizon, oklch(grey + 0.10, 0.010, 0.66), gloom * 0.90)
    dark_zenith, dark_horizon = (0.006, 0.009, 0.022), (0.035, 0.030, 0.035)
    zenith, horizon = mix(zenith, dark_zenith, night), mix(horizon, dark_horizon, night)
    brightness = (0.66 + 0.26 * gloom) * (1 - 0.90 * night) * (1 - 0.25 * low)
    ambient = brighten(mix(mix(zenith, horizon, 0.5), (0.75, 0.75, 0.75), 0.45 * (1 - night)), 1.25 * brightness + 0.15)
    haze = 0.0012 + 0.0030 * style.u("haze") + {"fog": 0.028, "rain": 0.008, "overcast": 0.002}.get(plan.weather, 0.0)
    lamp = ((1.0, 0.62, 0.30), (1.0, 0.80, 0.55), (0.85, 0.92, 1.0))[min(2, int(style.u("lamp", 0, 3)))]
    return Light(
        sun=sun, direct=direct, ambient=ambient, zenith=zenith, horizon=horizon, haze=haze,
        cover={"clear": 0.12, "clouds": 0.62, "overcast": 0.95, "rain": 1.0, "fog": 1.0}[plan.weather],
        night=night, wet=1.0 if plan.weather == "rain" else 0.0, disc=strength, lamp=lamp,
    )  # fmt: skip
