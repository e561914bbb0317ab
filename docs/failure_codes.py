"""Print the sections of docs/runbooks.md about failure codes: `python -m docs.failure_codes`.

The words are those of the console's pages.
"""

from __future__ import annotations

import sys

from console.failure_texts import TEXTS, FailureText

BEGIN, END = "<!-- failure codes -->", "<!-- /failure codes -->"


def sections() -> str:
    """Return a section for each code, between two marks."""
    return "\n".join([BEGIN, "", *(_section(code, TEXTS[code]) for code in sorted(TEXTS)), END]) + "\n"


def _section(code: str, text: FailureText) -> str:
    retry = f"mailroom task retry --code {code} --dry-run\n" if text.retry else ""
    return f"### {code}\n\n{text.meaning} {text.what_to_do}\n\n```sh\nmailroom task list --code {code}\n{retry}```\n"


if __name__ == "__main__":
    sys.stdout.write(sections())
