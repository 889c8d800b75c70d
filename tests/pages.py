"""What a page of HTML is made of, and whether it needs anything but itself."""

import re
from html.parser import HTMLParser


class Reader(HTMLParser):
    """What a page's elements are, with their attributes; the text of its scripts; whether all are closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script" and data.strip():
            self.scripts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def check_offline(page: str) -> None:
    """Fail where a page could load anything from anywhere, or takes text for markup or code."""
    reader = Reader(page)
    for _, attributes in reader.elements:
        assert not {"src", "href", "xlink:href", "action", "data"} & set(attributes)
    assert "http:" not in page
    assert "https:" not in page
    style = re.search(r"<style>(.*?)</style>", page, re.S)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert {"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"} == {
        meta["content"] for meta in reader.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    }
    assert not re.search(r"fetch\(|XMLHttpRequest|WebSocket|import\(|innerHTML|eval\(", page)
