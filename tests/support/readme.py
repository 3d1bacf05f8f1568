"""Parses the README: code blocks with their outputs, sections, rows of tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")

_BLOCK = re.compile(
    r"^```(\w+)(?: ([\w-]+))?\n(.*?)^```\n"  # a block, its language and its mode
    r"(?:\n```text\n(.*?)^```\n)?",  # what it prints
    re.MULTILINE | re.DOTALL,
)
_ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    language: str
    mode: str
    """How the block is tested; empty: it is run unchanged."""
    code: str
    output: str
    """The output shown in the README; empty: none is shown."""


BLOCKS = [Block(*match) for match in _BLOCK.findall(README)]


def blocks(language: str, mode: str = "") -> list[Block]:
    return [block for block in BLOCKS if (block.language, block.mode) == (language, mode)]


def section(title: str) -> str:
    """Return the text below a heading, up to the next heading of its level."""
    _, found, rest = README.partition(f"\n{title}\n")
    assert found, title
    level = title.count("#")
    return re.split(rf"^#{{1,{level}}} ", rest, flags=re.MULTILINE)[0]


def rows(title: str) -> dict[str, tuple[str, str]]:
    """Return the table below a heading: the first cell, which is code, maps to the other two."""
    return {name: (second.strip(), third) for name, second, third in _ROW.findall(section(title))}
