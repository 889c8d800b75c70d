"""Tables of pandas in a page: columns of words stand at the left, long ones get room, long names may break."""

import html
import re

_TABLE = re.compile(r"<table\b(?P<head>[^>]*)>(?P<body>.*?)</table>", re.DOTALL)
_ROW = re.compile(r"<tr\b[^>]*>(.*?)</tr>", re.DOTALL)
_CELL = re.compile(r"<(?P<kind>t[dh])(?P<attributes>\b[^>]*)>(?P<text>.*?)</t[dh]>", re.DOTALL)
LONG = 24  # letters


def aligned(page: str) -> str:
    """HTML in which the cells of each column of words have the class `words`, and `long` where they need room.

    A name such as `scene_targets` or `miniworld/videomae` may break after a mark between its parts, and an interval
    stays in one line. A negative number has a true minus.
    Pandas sets all columns to the right, as is right for numbers. Tables that it did not write stay as they are.
    """
    return _TABLE.sub(lambda match: _table(match) if re.search(r"dataframe|\bT_", match["head"]) else match[0], page)


def breaking(name: str, marks: str = "_/") -> str:
    """A name such as `scene_targets` that may break after a mark between its parts, and nowhere else."""
    return re.sub(rf"(?<=[^\W_])([{marks}])(?=\w{{3}})", r"\1<wbr>", name)


def _cell(text: str) -> str:
    """The text of a cell with a true minus, and with the places where a line may end, and may not."""
    if "<" in text:  # not only text
        return text
    text = re.sub(r"^-(?=\d)", "−", re.sub(r"(?<=\d) (?=km\b)|(?<=&lt;) (?=\d)", "&nbsp;", text))
    whole = re.sub(r"[\[(][+−-]?\d[^\])]*[\])]", lambda match: match[0].replace(" ", "&nbsp;"), text)
    return breaking(whole)


def _table(match: re.Match[str]) -> str:
    columns: dict[int, list[str]] = {}
    for row in _ROW.findall(match["body"]):
        cells = [cell for cell in _CELL.finditer(row) if cell["kind"] == "td"]
        for place, cell in enumerate(reversed(cells)):  # from the right: labels at the left may span several rows
            text = html.unescape(re.sub(r"<[^>]*>", "", cell["text"])).strip()
            columns.setdefault(place, []).extend([text] if text else [])
    names = {}
    for place, texts in columns.items():
        if sum(text[0].isalpha() for text in texts) > len(texts) / 2:
            names[place] = "words long" if max(map(len, texts)) > LONG else "words"
    return _ROW.sub(lambda row: _row(row, names), match[0])


def _row(row: re.Match[str], names: dict[int, str]) -> str:
    cells = list(_CELL.finditer(row[0]))
    if any("colspan" in cell["attributes"] for cell in cells):
        return row[0]  # a heading over several columns
    text = row[0]
    for place, cell in enumerate(reversed(cells)):  # from the end, so that places before stay valid
        if place in names and cell["text"].strip():
            kept = re.sub(r"\s*(style=\"text-align: right;\"|class=\"[^\"]*\")", "", cell["attributes"])
            classes = re.search(r"class=\"([^\"]*)\"", cell["attributes"])
            given = f"{classes[1]} " if classes else ""
            new = f'<{cell["kind"]}{kept} class="{given}{names[place]}">{cell["text"]}</{cell["kind"]}>'
            text = text[: cell.start()] + new + text[cell.end() :]
    return _CELL.sub(lambda cell: f"<{cell['kind']}{cell['attributes']}>{_cell(cell['text'])}</{cell['kind']}>", text)
