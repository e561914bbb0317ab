"""The documentation site is built without a warning, is complete, and loads nothing from elsewhere."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from docs.reference import commands, routes
from docs.site import build, indented_by_four, linked_files, sources
from tests.documents import MARKDOWN, PAGES, ROOT

#: Elements of Markdown with their tokens in CommonMark, as the forge shows the pages.
ELEMENTS = {"li": "list_item_open", "table": "table_open", "pre": "fence"}
LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src")}


class Document(HTMLParser):
    """Collects the links of a page, the files that it loads, its anchors, and the elements of its article."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.elements: Counter[str] = Counter()
        self._in_article = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self._in_article |= tag == "article"
        self.anchors.add(given.get("id", ""))
        if self._in_article:
            self.elements[tag] += 1
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        self.loaded += [given[name] for element, name in LOADED if element == tag and name in given]

    def handle_endtag(self, tag: str) -> None:
        self._in_article &= tag != "article"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Document]:
    """The pages of the site by their path in it."""
    folder = tmp_path_factory.mktemp("documentation") / "site"
    assert build(folder) == 0
    return {path.relative_to(folder).as_posix(): Document(path) for path in folder.rglob("*.html")} | {
        path.relative_to(folder).as_posix(): Document(Path("/dev/null"))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".html"
    }


def html_of(place: str) -> str:
    return re.sub(r"README\.md$", "index.md", place).removesuffix(".md") + ".html"


def test_each_page_is_in_the_site(site: dict[str, Document]) -> None:
    assert {html_of(place) for _, place in sources()} <= set(site)
    in_source = {path.relative_to(ROOT).as_posix() for path, _ in sources()}
    assert set(PAGES) - in_source == {"README.md"}  # its place is taken by docs/index.md


def test_each_link_leads_to_a_page_and_an_anchor(site: dict[str, Document]) -> None:
    assert [link for page, found in site.items() for link in found.links if not leads_somewhere(site, page, link)] == []


def leads_somewhere(site: dict[str, Document], page: str, link: str) -> bool:
    parts = urlsplit(link)
    if parts.scheme or page == "404.html":  # that page may be shown at any address
        return True
    folder = (ROOT / page).parent
    target = (folder / unquote(parts.path)).resolve().relative_to(ROOT).as_posix() if parts.path else page
    return target in site and unquote(parts.fragment) in site[target].anchors | {""}


def test_nothing_is_loaded_from_elsewhere(site: dict[str, Document]) -> None:
    assert {address for found in site.values() for address in found.loaded if urlsplit(address).netloc} == set()
    assert any(address.endswith(".css") for found in site.values() for address in found.loaded)


@pytest.mark.parametrize(("path", "place"), [pytest.param(*each, id=each[1]) for each in sources()])
def test_a_page_has_the_lists_tables_and_code_that_the_forge_shows(
    path: Path, place: str, site: dict[str, Document]
) -> None:
    """The site's Markdown wants deeper indentation and blank lines, and would else make paragraphs of them."""
    text = path.read_text(encoding="utf-8")
    if "<!-- generated:" in text:
        return
    tokens = Counter(token.type for token in MARKDOWN.parse(text))
    shown = site[html_of(place)].elements
    assert {tag: shown[tag] for tag in ELEMENTS} == {tag: tokens[name] for tag, name in ELEMENTS.items()}


def test_files_of_the_source_have_pages(site: dict[str, Document]) -> None:
    assert {path.name for path in linked_files()} >= {"Procfile", "docker-compose.yml", "alerts.yml"}
    assert {"files/Procfile.html", "openapi.json", "measured/bench.jsonl"} <= set(site)


def test_every_command_and_route_is_in_the_reference() -> None:
    assert {"## mailroom tenant\n", "### mailroom tenant connect\n", "### mailroom doctor\n"} <= set(
        commands().splitlines(keepends=True)
    )
    assert "### GET /api/v1/events\n" in routes()
    assert "### PUT /api/v1/tenants/{tenant_id}/users/{external_id}\n" in routes()


def test_what_belongs_to_an_item_is_indented_by_four() -> None:
    text = "1. one\n\n   ```sh\n   if x\n     y\n   ```\n2. two\n   - three\n   - four\n\n```text\n  kept\n```\n"
    assert indented_by_four(text) == (
        "1. one\n\n    ```sh\n    if x\n      y\n    ```\n\n2. two\n    - three\n    - four\n\n```text\n  kept\n```\n"
    )
