"""Write viewer/index.html, one page without any other file, from the modules of viewer/src.

Each script of the page is a module and what it imports, in the order of their imports. Modules
share one scope then, so their top-level names must differ.
"""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER / "index.html"

_IMPORT = re.compile(r'^import [^;]*? from "\./([\w.]+)";\n', re.MULTILINE)


def script(entry: str) -> str:
    """Return module `entry` and all that it imports, without the imports and exports."""
    parts: dict[str, str] = {}

    def add(name: str) -> None:
        if name in parts:
            return
        text = (FOLDER / "src" / name).read_text(encoding="utf-8")
        for needed in _IMPORT.findall(text):
            add(needed)
        parts[name] = re.sub(r"^export ", "", _IMPORT.sub("", text), flags=re.MULTILINE)

    add(entry)
    return "\n".join(f"// ---- {name}\n{text.strip()}\n" for name, text in parts.items()).strip()


def page() -> str:
    """Return the page."""

    def content(match: re.Match[str]) -> str:
        name = match[1]
        if name.endswith(".mjs"):
            return script(name)
        return (FOLDER / "src" / name).read_text(encoding="utf-8").strip()

    text = (FOLDER / "src" / "page.html").read_text(encoding="utf-8")
    return re.sub(r"^@@(.+)@@$", content, text, flags=re.MULTILINE)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
