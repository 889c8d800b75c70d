"""The guessing game as widgets."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cityguessr.interactive import rules
from cityguessr.interactive.moving import style
from cityguessr.interactive.panels import html_of
from cityguessr.interactive.rules import Round
from cityguessr.taxonomy import Taxonomy

if TYPE_CHECKING:
    from ipywidgets import VBox


def build(
    rounds: Sequence[Round],
    taxonomy: Taxonomy,
    chosen: list[int | None],
    pictures: Callable[[int], tuple[list[str], list[str]]],
    rule: str,
) -> VBox:
    """Widgets to play a game with.

    Args:
        chosen: gets the number of the option of each round that is played, None for none; emptied at first.
        pictures: number of a round -> its frames and the pictures of its options, as JPEG in base64 ("" for none).
        rule: written below.
    """
    import ipywidgets

    head, clip, verdict, foot = (ipywidgets.HTML() for _ in range(4))
    choices = ipywidgets.Box(layout=ipywidgets.Layout(display="flex", flex_flow="row wrap", grid_gap="8px"))
    button = ipywidgets.Button(description="Show the answer", button_style="primary")
    foot.value = f"<small>{html.escape(rule)}</small>"
    toggles: list[ipywidgets.ToggleButton] = []

    def headline() -> None:
        number, of = len(chosen), len(rounds)
        shown = number + (button.description == "Show the answer")  # the clip in sight
        yours, model = tally(rounds, chosen)
        played = f" · right so far: you {yours}, the model {model}" if number else ""
        head.value = f"<b>Which city is it? Clip {shown} of {of}</b>{played}"

    def deal() -> None:
        number = len(chosen)
        frames, faces = pictures(number)
        clip.value = "".join(_image(frame, f"Frame {n + 1} of the clip", 235) for n, frame in enumerate(frames))
        verdict.value, button.description = "", "Show the answer"
        toggles[:] = []
        boxes = []
        for city, face in zip(rounds[number].options, faces, strict=True):
            name = taxonomy.names["city"][city]
            toggle = ipywidgets.ToggleButton(description=name, tooltip=taxonomy.path(city))
            toggle.observe(pressed, "value")
            toggles.append(toggle)
            country = taxonomy.names["country"][int(taxonomy.ancestors["country"][city])]
            parts = [ipywidgets.HTML(_image(face, f"A street in {name}", 144) if face else ""), toggle]
            boxes.append(ipywidgets.VBox([*parts, ipywidgets.HTML(f"<small>{html.escape(country)}</small>")]))
        choices.children = boxes
        headline()

    def pressed(change: dict) -> None:
        if change["new"]:
            for other in toggles:
                if other is not change["owner"]:
                    other.value = False

    def answer() -> None:
        one = rounds[len(chosen)]
        mine = next((n for n, toggle in enumerate(toggles) if toggle.value), None)
        chosen.append(mine)
        for n, toggle in enumerate(toggles):
            toggle.disabled = True
            truth, own = one.options[n] == one.truth, n == mine
            toggle.button_style = "success" if truth else "danger" if own else ""
            toggle.icon = "check" if truth else "times" if own else ""
        yours = "You did not choose."
        if mine is not None:
            yours = "You are right." if one.options[mine] == one.truth else "You are wrong."
        words = rules.verdict(one, taxonomy)
        verdict.value = f"<b>{yours} {html.escape(words['truth'])}</b><br>{html.escape(words['model'])}"
        button.description = "Next clip" if len(chosen) < len(rounds) else "The score"
        headline()

    def finish() -> None:
        clip.value, choices.children, button.description = "", (), "Play again"
        drawn = html_of([rules.score(rounds, chosen, taxonomy)])
        verdict.value = f'<style>{style()}</style><div class="moving"><div class="view">{drawn}</div></div>'

    def clicked(_: object) -> None:
        if button.description == "Show the answer":
            answer()
        elif button.description == "The score":
            finish()
        else:
            if button.description == "Play again":
                chosen.clear()
            deal()

    chosen.clear()
    button.on_click(clicked)
    deal()
    return ipywidgets.VBox([head, clip, choices, button, verdict, foot])


def tally(rounds: Sequence[Round], chosen: Sequence[int | None]) -> tuple[int, int]:
    """How many cities of the rounds played are right: yours, and the model's of the same options."""
    played = list(zip(rounds, chosen, strict=False))
    yours = sum(n is not None and one.options[n] == one.truth for one, n in played)
    return yours, sum(one.model == one.truth for one, _ in played)


def _image(jpeg: str, words: str, width: int) -> str:
    style = f"width:{width}px;max-width:100%;margin:0 6px 4px 0;display:inline-block"
    return f'<img alt="{html.escape(words)}" style="{style}" src="data:image/jpeg;base64,{jpeg}">'
