"""HTML pages that need nothing but themselves: interactive figures, as files of their own and inside a notebook.

A page is a template with {{names}}, its data as JSON in a script element, and pictures as base64. Its own rules forbid
it to load anything. In a notebook it stands in a frame of its own, so that its style and script touch nothing else.
"""

import base64
import html
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cityguessr.base import paths
from cityguessr.base.files import write_bytes
from cityguessr.data.pictures import encode_image

RULES = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True)
class OfflinePage:
    """A finished page; as the last line of a notebook's cell it shows itself.

    Attributes:
        document: the whole page, as HTML.
        summary: what it shows, in a line of plain text.
        name: of its file.
        label: what it is, for those who hear it.
        height: of its frame in a notebook, in pixels.
        narrow: its heights where the frame is 740 and 400 pixels wide, for a page that grows below 1,000.
        kept: whether the file lies beside the figures.
    """

    document: str
    summary: str
    name: str
    label: str
    height: int
    narrow: tuple[int, int] | None = None
    kept: bool = True

    def save(self, profile: str = "mini", folder: Path | None = None) -> Path:
        """Write the page beside the figures of that profile. Returns its path."""
        path = (folder or paths.figures(profile)) / self.name
        write_bytes(path, self.document.encode())
        return path

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        where = os.path.relpath(paths.rendered(self.name), paths.root())
        # What stands inside the frame's element is shown where frames are taken out: in a notebook not yet trusted.
        file = f", or open <code>{html.escape(where)}</code> in a browser" if self.kept else ""
        instead = (
            f"<p><strong>{html.escape(self.summary)}</strong></p><p>{html.escape(self.label)}: hidden because this "
            f"notebook has not been run here. Run the cell above, or trust the notebook (command palette: <em>Trust "
            f"Notebook</em>){file}.</p>"
        )
        height = f"height: {self.height}px"
        if self.narrow:  # straight lines over the width of the box around it, 100cqw; an old browser takes the first
            first = (self.narrow[0] - self.height) / 260
            more = (self.narrow[1] - self.narrow[0]) / 340 - first
            lines = f"max(0px, 1000px - 100cqw) * {first:.3f} + max(0px, 740px - 100cqw) * {more:.3f}"
            height += f"; height: calc({self.height}px + {lines})"
        frame = (
            f'<iframe title="{html.escape(self.label)}" sandbox="allow-scripts" style="width: 100%; '
            f'{height}; border: 0" srcdoc="{html.escape(self.document)}">{instead}</iframe>'
        )
        if self.narrow:
            frame = f'<div style="container-type: inline-size">{frame}</div>'
        return {"text/html": frame, "text/plain": self.summary}


def head(title: str) -> str:
    """The first lines of a page's head: encoding, width, the rules that forbid it to load anything, and its title."""
    return (
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{RULES}">\n<title>{html.escape(title)}</title>'
    )


def json_text(value: object) -> str:
    """JSON for a script element: no name in it can end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def filled(template: str, parts: Mapping[str, str]) -> str:
    """Each {{name}} replaced once: what is put in is not looked at again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def jpeg_text(image: Image.Image, quality: int) -> str:
    """An image as a JPEG in base64."""
    return base64.b64encode(encode_image(image, "JPEG", quality=quality, optimize=True)).decode()
