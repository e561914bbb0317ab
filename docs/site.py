"""Build the documentation site: `python -m docs.site [FOLDER]`. A link that leads nowhere fails the build.

The pages of docs/ are copied, the generated parts are filled in, and Zensical makes HTML of them. Links to files of the
source lead to a page that shows the file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from docs.licences import table
from docs.reference import commands, routes

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
#: Pages that stand elsewhere in the source, and their place in the site.
ELSEWHERE = {
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "examples/host/README.md": "examples/host.md",
    "examples/step/README.md": "examples/step.md",
}
GENERATED = {"commands": commands, "routes": routes, "licences": table}
MARK = re.compile(r"^The site built by `\./run docs` .*\n\n<!-- generated: (\w+) -->\n", re.MULTILINE)
LINK = re.compile(r"(\]\()(?!https?:|#)([^)\s#]+)")
COMMENT = re.compile(r"^ *<!-- .* -->\n", re.MULTILINE)
ITEM = re.compile(r"(?:[-*]|\d+\.) ")
INDENTED = re.compile(r"^( *)(.*)$")


def sources() -> Iterator[tuple[Path, str]]:
    """Yield each page with its place in the site."""
    for path in sorted(DOCS.rglob("*.md")):
        yield path, path.relative_to(DOCS).as_posix()
    for name, place in ELSEWHERE.items():
        yield ROOT / name, place


def page(path: Path, place: str) -> str:
    """Return a page as the site has it: complete, with links that lead to places in the site."""
    text = MARK.sub(lambda found: GENERATED[found[1]](), path.read_text(encoding="utf-8"))
    linked = LINK.sub(
        lambda found: found[1] + os.path.relpath(place_of(path.parent / found[2]), Path(place).parent), text
    )
    return indented_by_four(COMMENT.sub("", linked))


def place_of(target: Path) -> str:
    """Return the place in the site of what a link in the source leads to."""
    path = target.resolve()
    name = path.relative_to(ROOT).as_posix()
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    return f"files/{name.lstrip('.')}.md"  # a page whose name begins with a dot would be left out


def linked_files() -> set[Path]:
    """Return the files that pages link to, pictures among them, apart from pages."""
    found = {
        (path.parent / link).resolve() for path, _ in sources() for _, link in LINK.findall(path.read_text("utf-8"))
    }
    return found - {path for path, _ in sources()}


def indented_by_four(text: str) -> str:
    """Indent what belongs to an item of a list by four spaces a level, and put blank lines where items have parts.

    Zensical's Markdown wants it so. The forge's Markdown takes two or three spaces, and the pages are written so. Code
    keeps its own indentation.
    """
    lines: list[str] = []
    fence, has_parts = None, False
    for line in text.splitlines():
        spaces, rest = INDENTED.findall(line)[0]
        depth = len(spaces)
        if fence:
            lines.append(" " * (max(0, depth - fence[0]) + fence[1]) + rest if rest else "")
            fence = None if rest == "```" and depth == fence[0] else fence
            continue
        new = 4 * -(-depth // 4)
        if ITEM.match(rest):
            lines += [""] if has_parts and lines[-1] else []
            has_parts = False
        has_parts |= not rest
        fence = (depth, new) if rest.startswith("```") else None
        lines.append(" " * new + rest)
    return "\n".join(lines) + "\n"


def write_pages(folder: Path) -> None:
    """Write all pages into the folder, and the files that they link to."""
    for path, place in sources():
        _write(folder / place, page(path, place))
    for path in linked_files():
        target = folder / place_of(path)
        if path.is_relative_to(DOCS):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        else:
            text = path.read_text(encoding="utf-8")
            _write(target, f"# {path.relative_to(ROOT).as_posix()}\n\n````text\n{text}````\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def build(target: Path) -> int:
    """Replace the target by the site. Return Zensical's exit status: 0 if there was no warning."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pages(folder / "pages")
        shutil.copy(DOCS / "zensical.toml", folder)
        status = subprocess.run(
            [Path(sys.executable).with_name("zensical"), "build", "--strict"], cwd=folder, check=False
        ).returncode
        if status == 0:
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder / "site", target)
    return status


def main() -> int:
    """Build the site into the folder that was named, else into build/site."""
    target = Path(*sys.argv[1:]) if sys.argv[1:] else ROOT / "build" / "site"
    status = build(target)
    if status == 0:
        sys.stdout.write(f"{target / 'index.html'}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
