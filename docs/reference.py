"""Reference pages in Markdown, read from the code: every command with its help, every route of the REST API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from console.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENAPI = Path(__file__).with_name("openapi.json")
WIDTH = 100


def commands() -> str:
    """Return a section for each command: its help, as a terminal shows it."""
    return "\n".join(_sections(main, click.Context(main, info_name="mailroom", max_content_width=WIDTH)))


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    context.terminal_width = WIDTH
    level = "##" if isinstance(command, click.Group) else "###"
    yield f"{level} {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (each := command.get_command(context, name)) and not each.hidden:
                yield from _sections(each, click.Context(each, info_name=name, parent=context))


def routes() -> str:
    """Return a section for each group of routes, and one with the objects that they take and give."""
    document = json.loads(OPENAPI.read_text(encoding="utf-8"))
    parts = [document["info"]["description"] + "\n"]
    for tag in document["tags"]:
        parts.append(f"## {tag['name'].capitalize()}\n\n{tag['description']}\n")
        parts += (_route(*found) for found in _operations(document, tag["name"]))
    parts.append("## Objects\n")
    parts += (_object(name, schema) for name, schema in sorted(document["components"]["schemas"].items()))
    return "\n".join(parts)


def _operations(document: Any, tag: str) -> Iterator[tuple[str, str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield method.upper(), path, operation


def _route(method: str, path: str, operation: Any) -> str:
    rows = [
        f"| `{each['name']}` | {each['in']} | {_cell(each.get('description', ''))} |"
        for each in operation.get("parameters", ())
    ]
    taken = [f"It takes {_content(operation['requestBody'])}.", ""] if "requestBody" in operation else []
    given = [
        f"{status}: {_content(answer) or answer['description']}."
        for status, answer in sorted(operation["responses"].items())
        if status.startswith("2")
    ]
    heading = [f"### {method} {path}", "", operation["summary"], ""]
    return "\n".join([*heading, *_table("parameter", "in", rows), *taken, *given, ""])


def _content(described: Any) -> str:
    found = (content.get("schema", {}) for content in described.get("content", {}).values())
    return " or ".join(sorted({_type(schema) for schema in found}))


def _object(name: str, schema: Any) -> str:
    rows = [
        f"| `{field}` | {_type(each)} | {_cell(each.get('description', ''))} |"
        for field, each in schema.get("properties", {}).items()
    ]
    described = [_cell(schema["description"]), ""] if "description" in schema else []
    return "\n".join([f"### {name}", "", *described, *(_table("field", "type", rows) or [_type(schema), ""])])


def _table(first: str, second: str, rows: list[str]) -> list[str]:
    return [f"| {first} | {second} | meaning |", "| --- | --- | --- |", *rows, ""] if rows else []


def _type(schema: Any) -> str:
    """Return the type of a schema in words, with links to the objects of this page."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if several := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return " or ".join(dict.fromkeys(_type(each) for each in several))
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "any value")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
