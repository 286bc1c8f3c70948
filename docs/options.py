"""Write the option tables of the room pages from the settings dataclasses themselves.

Run ``python docs/options.py`` after changing an option; ``--check`` only says whether a page is out of date.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import phonograph as pg
from phonograph import config, config_labels, config_modes, config_phonons, config_study

FOLDER = Path(__file__).parent
BLOCK = re.compile(r"(<!-- options: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
MODES = re.compile(r"(<!-- modes -->\n).*?(<!-- end -->)", re.DOTALL)


def table(name: str) -> str:
    homes = (pg, config, config_labels, config_phonons, config_study)
    cls = next(getattr(home, name) for home in homes if hasattr(home, name))
    lines = ["| option | default | what it is |", "|---|---|---|"]
    for item in fields(cls):
        text = item.metadata.get("help", "")
        if not text or item.metadata.get("python_only"):
            continue
        choices = item.metadata.get("choices")
        if choices:
            text += f" One of: {', '.join(f'`{choice}`' for choice in choices)}."
        default = "*required*" if item.default is MISSING and item.default_factory is MISSING else f"`{shown(item)}`"
        if item.default is None:
            default = "*none*"
        lines.append(f"| `{item.name}` | {default} | " + text.replace("|", "\\|") + " |")
    return "\n".join(lines) + "\n"


def shown(item) -> str:
    value = item.default if item.default is not MISSING else item.default_factory()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(repr, value)) + "]"
    return repr(value).replace("'", '"').replace("True", "true").replace("False", "false")


def modes() -> str:
    lines = ["| option | " + " | ".join(f"`{mode}`" for mode in config_modes.MODES) + " |", "|---" * 4 + "|"]
    for name, values in config_modes.mode_differences().items():
        lines.append(f"| `{name}` | " + " | ".join(f"`{json.dumps(value)}`" for value in values) + " |")
    return "\n".join(lines) + "\n"


def renewed(text: str) -> str:
    text = MODES.sub(lambda match: match[1] + modes() + match[2], text)
    return BLOCK.sub(lambda match: match[1] + table(match[2]) + match[3], text)


def main(arguments: list[str]) -> int:
    stale = []
    for page in sorted(FOLDER.glob("*.md")):
        old = page.read_text(encoding="utf-8")
        new = renewed(old)
        if new != old:
            stale.append(page.name)
            if "--check" not in arguments:
                page.write_text(new, encoding="utf-8")
    print("changed:" if "--check" not in arguments else "out of date:", ", ".join(stale) or "nothing")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
