"""Make the store of the present schema, and what it must be read as for ever.

    PYTHONPATH=src:tests/3_labels/toys python tests/3_labels/stores/make_store.py FOLDER

Run once per schema version, with the release that made it; the files are kept for ever and never made again.
The JSON is read by plain SQL, so that it does not depend on our reader.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

from store_toys import six, story

from phonograph.labels.store import SCHEMA_VERSION, open_store


def content(path: Path) -> list[list[object]]:
    """Return (structure key, engine, status, message, {property: number as hexadecimal text}) of every label."""
    raw = sqlite3.connect(path)
    rows = raw.execute(
        "SELECT hex(s.key), engine, status, message, property, value FROM label "
        "JOIN structure AS s ON s.id = structure JOIN calculation AS c ON c.id = calculation "
        "ORDER BY structure, calculation, property"
    ).fetchall()
    raw.close()
    labels: dict[tuple[str, ...], dict[str, str]] = {}
    for key, engine, status, message, name, value in rows:
        labels.setdefault((key, engine, status, message), {}).update({name: value.hex()} if value is not None else {})
    return [[*label, values] for label, values in labels.items()]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    made = folder / f"schema-{SCHEMA_VERSION}.sqlite"
    with open_store(made, "write") as store:
        store.register(six())
        store.record(story(six()))
    Path(f"{made}.lock").unlink()
    for path in sorted(folder.glob("schema-*.sqlite")):
        text = "[\n" + ",\n".join(json.dumps(row) for row in content(path)) + "\n]\n"
        path.with_suffix(".json").write_text(text, encoding="utf-8")
