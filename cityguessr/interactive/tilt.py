"""What self-cross attention can say with tokens of width 1: a tilted mean of the logits (section 4.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.figures.style import MUTED, REFERENCE, SERIES
from cityguessr.folded.means import softmax_means
from cityguessr.interactive import panels
from cityguessr.interactive.moving import Moving, Preset, Slider, Values
from cityguessr.interactive.panels import Panel

LOGITS = (6.0, 3.8, 2.9, 1.7, 0.9, 0.3, -0.2, -0.8, -1.5, -2.1, -3.0, -4.2)
"""Made up, with the shape of a clip's logits: one large, most of them near 0."""

STEPS = 60  # pieces of the curve
_MOST = 1000  # logits


def tilt(logits: Tensor | Sequence[float] = LOGITS, a: float = 0.15, b: float = -0.2, c: float = 1.0) -> Tilt:
    """One head of self-cross attention over a few logits, with sliders for its three numbers.

    Token i has the query a x_i + b, and token j the key c x_j, so that the weights of token i are
    softmax_j(t_i x_j) with the tilt t_i = (a x_i + b) c. It returns the mean of the logits under these weights.

    Args:
        logits: (d,), the entries of PV, in any order; 2 to 1,000 of them.
        a, b, c: at first, each within -2 and 2. For a head of width d_q, the package's `SelfCrossAttention.fast` gives
            (a . c) / sqrt(d_q) and (b . c) / sqrt(d_q): these are a and b here, with c=1.

    Raises InputError for logits that are too few, too many or not finite.

    Example:
        >>> interactive.tilt(pv[0], a=0.1, b=-0.3)
    """
    return Tilt(torch.as_tensor(logits, dtype=torch.float64).detach(), a, b, c)


class Tilt(Moving):
    """See `tilt`."""

    name, title, heights = "tilt", "A tilted mean: all that a token of width 1 can ask for", (480, 720, 1120)

    def __init__(self, logits: Tensor, a: float, b: float, c: float) -> None:
        if logits.ndim != 1 or not 2 <= len(logits) <= _MOST or not logits.isfinite().all():
            raise InputError(f"logits: give 2 to {_MOST:,} finite numbers, not {tuple(logits.shape)}")
        for name, value in {"a": a, "b": b, "c": c}.items():
            if not -2 <= value <= 2:
                raise InputError(f"{name}={value}: it runs from -2 to 2")
        ordered = [round(x, 4) for x in logits.sort(descending=True).values.tolist()]
        self._rest = torch.tensor(ordered[1:], dtype=torch.float64)  # all but the largest, which is moved
        head, token = "The head: t = (a x + b) c", "The logits"
        controls = [
            Slider("a", "a: query's slope", -2, 2, a, 0.05, head, SERIES[0]),
            Slider("b", "b: query at 0", -2, 2, b, 0.05, head, SERIES[0]),
            Slider("c", "c: key's slope", -2, 2, c, 0.05, head, SERIES[0]),
            Slider("token", "token i, by rank", 1, len(ordered), 1, 1, token, SERIES[2]),
            Slider("top", "largest logit", ordered[1], ordered[1] + 8, ordered[0], 0.1, token, SERIES[2]),
        ]
        start = {"a": a, "b": b, "c": c, "token": 1, "top": ordered[0]}
        data = {"rest": ordered[1:], "steps": STEPS, "colours": [SERIES[0], SERIES[2], MUTED, REFERENCE]}
        foot = f"{len(ordered)} logits. What follows stretches and shifts this curve; two heads add theirs up."
        super().__init__(controls, _presets(start), data, foot=foot)

    def logits(self, values: Values | None = None) -> Tensor:
        """The logits as they stand, largest first: float64 (d,)."""
        top = (self.values if values is None else values)["top"]
        return torch.cat([torch.tensor([top], dtype=torch.float64), self._rest])

    def means(self, at: Tensor, values: Values | None = None) -> Tensor:
        """What the head returns to tokens of these logits: float64 (n,) -> (n,)."""
        values = self.values if values is None else values
        tilts = (values["a"] * at + values["b"]) * values["c"]
        return softmax_means(tilts[None, None], self.logits(values)[None])[0, 0]

    def panels(self, values: Values) -> list[Panel]:
        x, token = self.logits(values), int(values["token"]) - 1
        mine = float(x[token])
        slant = (values["a"] * mine + values["b"]) * values["c"]
        weights = (slant * x).softmax(dim=0)
        attended, plain = float(self.means(x[token : token + 1], values)), float(x.mean())
        low, high = float(x[-1]), float(x[0])
        grid = torch.tensor([low + (high - low) * n / STEPS for n in range(STEPS + 1)], dtype=torch.float64)
        space, most = 0.04 * (high - low), float(weights.max())
        ends = {"low": low - space, "high": high + space}
        blue, red, grey, pale = self.data["colours"]
        curve = [list(pair) for pair in zip(grid.tolist(), self.means(grid, values).tolist(), strict=True)]
        tokens = [list(pair) for pair in zip(x.tolist(), self.means(x, values).tolist(), strict=True)]
        stems = [list(pair) for pair in zip(x.tolist(), weights.tolist(), strict=True)]
        towards = (
            "The tilt is 0: every logit counts the same, and the answer is the plain mean."
            if abs(slant) < 0.005
            else f"The tilt is {'positive: large' if slant > 0 else 'negative: small'} logits count more."
        )
        return [
            panels.note(
                f"Token {token + 1} has the logit {panels.fixed(mine, 2)}, so its tilt is "
                f"({panels.fixed(values['a'], 2)} × {panels.fixed(mine, 2)} {'−' if values['b'] < 0 else '+'} "
                f"{panels.fixed(abs(values['b']), 2)}) × "
                f"{panels.fixed(values['c'], 2)} = {panels.fixed(slant, 2)}. {towards} It gets back "
                f"{panels.fixed(attended, 2)}; the plain mean is {panels.fixed(plain, 2)}."
            ),
            panels.plot(
                f"How much token {token + 1} looks at each logit",
                {"label": "logit x", **ends},
                {"label": "attention weight", "low": 0.0, "high": 1.1 * most},
                [
                    {"shape": "stems", "points": stems, "colour": blue, "label": ""},
                    {"shape": "dots", "points": stems, "colour": blue, "label": "a logit and its weight"},
                    {"shape": "dashes", "points": [[plain, 0.0], [plain, 1.1 * most]], "colour": grey,
                     "label": "plain mean"},
                    {"shape": "line", "points": [[attended, 0.0], [attended, 1.1 * most]], "colour": red,
                     "label": "tilted mean"},
                ],
            ),
            panels.plot(
                "From a token's logit to what it gets back",
                {"label": "logit x of the token that asks", **ends},
                {"label": "tilted mean", **ends},
                [
                    {"shape": "dashes", "points": [[low - space, plain], [high + space, plain]], "colour": grey,
                     "label": "plain mean"},
                    {"shape": "line", "points": curve, "colour": pale, "label": ""},
                    {"shape": "dots", "points": tokens, "colour": blue, "label": "a token"},
                    {"shape": "ring", "points": [[mine, attended]], "colour": red, "label": f"token {token + 1}"},
                ],
            ),
        ]  # fmt: skip


def _presets(start: dict[str, float]) -> list[Preset]:
    def with_head(a: float, b: float, c: float) -> dict[str, float]:
        return start | {"a": a, "b": b, "c": c}

    return [
        Preset(
            "As given",
            "Move a, b and c, then the token: all tokens lie on one curve, whatever level they belong to.",
            start,
        ),
        Preset(
            "No tilt",
            "With a = b = 0 every query is 0. All weights are equal, and every token gets the plain mean.",
            with_head(0.0, 0.0, 1.0),
        ),
        Preset(
            "Every token looks at the largest",
            "With a = 0 all tokens share one tilt, b c, so the curve is flat. A tilt of 2 lands near the largest "
            "logit: move the largest logit and the whole curve follows.",
            with_head(0.0, 2.0, 1.0),
        ),
        Preset(
            "Large looks at large, small at small",
            "With a > 0 the tilt changes its sign along the axis, so the curve is a soft step from the smallest "
            "logit to the largest.",
            with_head(0.6, 0.0, 1.0),
        ),
        Preset(
            "Upside down",
            "A negative c turns every tilt round. Only the products a c and b c matter: a and c both negative give "
            "the same curve as both positive.",
            with_head(0.6, 0.0, -1.0),
        ),
    ]
