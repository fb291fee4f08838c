"""Every page that an account can reach by following links, and how to read a form off one."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx2

_LINK = re.compile(r'href="(/[^"#]*|\?[^"#]*)')
_STUDENT = re.compile(r"/students/[0-9a-f]{20}")
_LATER_PAGE = re.compile(r"page=([3-9]|\d\d)")
_MOST_STUDENTS = 3


def crawl(browser: httpx2.Client, start: str = "/") -> dict[str, httpx2.Response]:
    """Every answer by its path, from the front page on: all kinds of page, two of a long list, a
    few students.
    """
    found: dict[str, httpx2.Response] = {}
    ahead = [start]
    while ahead:
        path = ahead.pop(0)
        if (
            path in found
            or path.startswith("/static/")
            or _LATER_PAGE.search(path)
            or _enough(path, found)
        ):
            continue
        response = found[path] = browser.get(path)
        if response.is_redirect:
            ahead.append(response.headers["location"])
        elif response.headers["content-type"].startswith("text/html"):
            links = [link.replace("&amp;", "&") for link in _LINK.findall(response.text)]
            ahead.extend(
                link if link.startswith("/") else path.split("?")[0] + link for link in links
            )
    return found


def _enough(path: str, found: dict[str, httpx2.Response]) -> bool:
    student = _STUDENT.match(path)
    known = {match[0] for match in map(_STUDENT.match, found) if match}
    return student is not None and student[0] not in known and len(known) >= _MOST_STUDENTS


class Page(HTMLParser):
    """The tags of a page with their attributes, and the text within headings and title."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.problems: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()} closes something else")

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


_VOID = {"meta", "link", "img", "input", "br", "hr", "source"}


def csrf_of(response: httpx2.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', response.text)
    assert found is not None
    return found[1]
