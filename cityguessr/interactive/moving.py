"""A thing to move: controls, and a view that follows from where they stand."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar

from cityguessr.base.errors import InputError, one_of
from cityguessr.figures import offline_page
from cityguessr.figures.offline_page import OfflinePage
from cityguessr.figures.style import GUIDE, MUTED, TEXT
from cityguessr.interactive.panels import PLOT, Panel, fixed, html_of
from cityguessr.interactive.showing import Shown

if TYPE_CHECKING:
    from ipywidgets import Widget

Values = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Slider:
    """A number to move.

    Attributes:
        name: under which its value is known.
        label: beside it.
        low, high, step: of its values.
        value: where it stands at first.
        group: the heading that it stands under; sliders of one group follow one another.
        colour: of its group.
    """

    name: str
    label: str
    low: float
    high: float
    value: float
    step: float = 0.1
    group: str = ""
    colour: str = TEXT

    @property
    def digits(self) -> int:
        """Decimals of its value."""
        return 0 if self.step == int(self.step) else 1 if self.step >= 0.1 else 2


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several words; its value is the number of the word."""

    name: str
    label: str
    options: tuple[str, ...]
    value: int = 0


@dataclasses.dataclass(frozen=True)
class Preset:
    """Where to put the controls to see something: its name, a sentence on what to see, and values by control."""

    name: str
    note: str
    values: Values


class Moving(Shown):
    """A thing to move. As the last line of a cell it shows itself, see `showing`.

    Attributes:
        controls: its sliders and choices.
        presets: positions worth looking at; it starts with the first, if there is one.
        values: where the controls stand, by their names; moving its widgets changes them.
        data: what its script needs to know.
        pictures: JPEG in base64, by the number of the frame.
    """

    name: ClassVar[str]  # of its script, and of the page it saves
    title: ClassVar[str]
    heights: tuple[int, int, int]  # of the page, 1,000 and 740 and 400 pixels wide

    def __init__(
        self,
        controls: Sequence[Slider | Choice],
        presets: Sequence[Preset] = (),
        data: Mapping[str, Any] | None = None,
        pictures: Sequence[str] = (),
        foot: str = "",
    ) -> None:
        self.controls, self.presets = tuple(controls), tuple(presets)
        self.data, self.pictures, self.foot = dict(data or {}), tuple(pictures), foot
        self.values: dict[str, float] = {control.name: control.value for control in controls}
        if presets:
            self.values |= presets[0].values

    def view(self, **values: float) -> list[Panel]:
        """What is seen with these values, and the others as they stand.

        Raises InputError for a name that is no control, and a value beyond its ends.
        """
        names = [control.name for control in self.controls]
        for name, value in values.items():
            if name not in names:
                raise one_of("control", name, names)
            control = self.controls[names.index(name)]
            low, high = (control.low, control.high) if isinstance(control, Slider) else (0, len(control.options) - 1)
            if not low <= value <= high:
                raise InputError(f"{name}={value}: it runs from {low:g} to {high:g}")
        return self.panels(self.values | values)

    def panels(self, values: Values) -> list[Panel]:
        """What is seen where the controls stand like this."""
        raise NotImplementedError

    def page(self) -> OfflinePage:
        about = {
            "controls": [
                dataclasses.asdict(control)
                | ({"digits": control.digits, "kind": "slider"} if isinstance(control, Slider) else {"kind": "choice"})
                for control in self.controls
            ],
            "presets": [dataclasses.asdict(preset) for preset in self.presets],
            "values": self.values,
            "plot": PLOT,
            "guide": GUIDE,
            "data": self.data,
            "pictures": self.pictures,
        }
        parts = {
            "head": offline_page.head(self.title),
            "title": html.escape(self.title),
            "foot": html.escape(self.foot),
            "style": style(),
            "name": self.name,
            "common": read("common.js"),
            "script": read(f"{self.name}.js"),
            "data": offline_page.json_text(about),
        }
        document = offline_page.filled(read("page.html"), parts)
        height, *narrow = self.heights
        name = f"{self.name}.html"
        return OfflinePage(document, f"{self.title}.", name, self.title, height, tuple(narrow), kept=False)

    def widget(self) -> Widget:
        import ipywidgets

        parts, boxes, group = {}, [], ""
        for control in self.controls:
            if isinstance(control, Choice):
                options = [(option, number) for number, option in enumerate(control.options)]
                part = ipywidgets.Dropdown(description=control.label, options=options, value=self.values[control.name])
            else:
                if control.group != group:
                    group = control.group
                    mark = f"border-left:4px solid {control.colour};padding-left:7px"
                    heading = f'<b style="{mark}">{html.escape(group)}</b>'
                    boxes.append(ipywidgets.HTML(heading))
                part = ipywidgets.FloatSlider(
                    description=control.label,
                    min=control.low,
                    max=control.high,
                    step=control.step,
                    value=self.values[control.name],
                    readout_format=f".{control.digits}f",
                )
            part.style.description_width = "10em"
            part.layout.width = "340px"
            part.layout.max_width = "100%"
            parts[control.name] = part
            boxes.append(part)
        seen = ipywidgets.HTML(layout=ipywidgets.Layout(flex="1 1 380px", min_width="0", overflow="hidden"))

        def draw() -> None:
            drawn = html_of(self.panels(self.values), self.pictures)
            seen.value = (
                f'<style>{style()}</style><div class="moving"><div class="view {self.name}">{drawn}</div></div>'
            )

        def moved(change: Mapping[str, Any]) -> None:
            if not jumping:
                name = next(name for name, part in parts.items() if part is change["owner"])
                self.values[name] = round(change["new"], 4)  # a slider says 1.5999999999999996
                draw()

        jumping: list[Preset] = []  # while a preset moves the sliders, one after another
        for part in parts.values():
            part.observe(moved, "value")
        if self.presets:
            boxes[:0] = self._chooser(parts, jumping, draw)
        draw()
        column = ipywidgets.VBox(boxes, layout=ipywidgets.Layout(flex="0 1 350px"))
        head = ipywidgets.HTML(f"<b>{html.escape(self.title)}</b>")
        row = ipywidgets.Layout(display="flex", flex_flow="row wrap", grid_gap="0 16px")
        foot = ipywidgets.HTML(f"<small>{html.escape(self.foot)}</small>")
        return ipywidgets.VBox([head, ipywidgets.Box([column, seen], layout=row), foot])

    def _chooser(self, parts: Mapping[str, Widget], jumping: list[Preset], draw: Any) -> list[Widget]:
        """The list of presets and the sentence on the one that was chosen."""
        import ipywidgets

        names = [preset.name for preset in self.presets]
        chooser = ipywidgets.Dropdown(description="Example", options=names, layout=ipywidgets.Layout(width="340px"))
        chooser.style.description_width = "5em"
        sentence = ipywidgets.HTML(_small(self.presets[0].note), layout=ipywidgets.Layout(width="340px"))

        def chosen(change: Mapping[str, Any]) -> None:
            preset = self.presets[names.index(change["new"])]
            jumping.append(preset)
            for name, value in preset.values.items():
                parts[name].value = self.values[name] = value
            jumping.clear()
            sentence.value = _small(preset.note)
            draw()

        chooser.observe(chosen, "value")
        return [chooser, sentence]

    def __repr__(self) -> str:
        where = ", ".join(
            f"{control.name}={fixed(self.values[control.name], getattr(control, 'digits', 0))}"
            for control in self.controls
        )
        return f"{type(self).__name__}({where})"


def _small(text: str) -> str:
    return f'<div style="line-height:1.35">{html.escape(text)}</div>'


def style() -> str:
    """The style sheet of what `panels` draws."""
    return offline_page.filled(read("style.css"), {"text": TEXT, "muted": MUTED, "guide": GUIDE})


def read(name: str) -> str:
    """A file of this folder."""
    return (resources.files("cityguessr.interactive") / name).read_text(encoding="utf-8")
