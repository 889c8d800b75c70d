"""The camera: where it is in a frame of a video, and where it looks."""

import math
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from cityguessr.miniworld.plan import VideoPlan

SWAY = 0.37  # metres that the camera strays to either side, at most

Value = TypeVar("Value", float, Tensor)


class Camera(NamedTuple, Generic[Value]):
    """Place and direction of the camera: six numbers for one frame, or six tensors with one number per frame.

    Attributes:
        s: metres along the street.
        x: metres right of the middle of the road.
        y: metres above it.
        yaw, pitch, roll: radians; positive to the right, upwards, and with the right side raised.
    """

    s: Value
    x: Value
    y: Value
    yaw: Value
    pitch: Value
    roll: Value


def place_camera(plan: VideoPlan, frames: Tensor) -> Camera[Tensor]:
    """The camera of some frames of a video, each value float32 (frames,): it moves forward, sways and jolts."""
    time = frames.double() / plan.fps
    jolt = 1.0 if plan.walk else 0.35
    step = 2 * math.pi * (1.8 if plan.walk else 0.9) * time + plan.key % 7
    sway = torch.sin(0.31 * time + plan.key % 11)
    values = (
        plan.positions[frames],
        plan.lateral + 0.12 * jolt * torch.sin(step / 2) + 0.25 * sway,
        plan.eye + 0.035 * jolt * torch.sin(step),
        0.05 * jolt * torch.sin(0.23 * time + 1) + 0.02 * sway,
        plan.pitch + 0.008 * jolt * torch.sin(step + 1),
        0.012 * jolt * torch.sin(0.6 * step),
    )
    return Camera(*(value.float() for value in values))
