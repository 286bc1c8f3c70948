"""Reads one file of force constants in a process of its own: run as a script, never imported.

HDF5 is a binary format with pointers and lengths; a damaged one makes its library allocate gigabytes or crash.
Here that costs a process with limited memory.  Nothing of the package is imported, so that the start is quick.

Arguments: the file, and the number of atoms of the supercell.  Output: one line of JSON, then the numbers of the
dataset as raw float64 where its shape fits.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np

HEADROOM_BYTES = 256 * 1024 * 1024


def limit_memory(atoms: int) -> None:
    """Allow what is in use now, twice the largest dataset that fits, and some headroom; where the system can."""
    statistics = Path("/proc/self/statm")
    if not statistics.exists():
        return
    import resource

    used = int(statistics.read_text().split()[0]) * resource.getpagesize()
    allowed = used + 2 * 72 * atoms * atoms + HEADROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def dataset(stream: Any, name: str) -> Any:
    """Return a dataset whose numbers are in this very file; links and virtual datasets could read any other."""
    found = stream[name] if isinstance(stream.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
        raise SystemExit(json.dumps({"refused": f"{name} must be a plain dataset inside the file"}))
    return found


def unit(found: Any) -> str:
    """Return the one name in a dataset of names."""
    if found.size != 1:
        raise SystemExit(json.dumps({"refused": f"physical_unit must be one name; got {found.size} entries"}))
    value = found[(0,) * found.ndim]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def read(path: str, atoms: int) -> tuple[dict[str, Any], Any]:
    """Return name, shape, unit and rows, and the numbers (None where the shape does not fit)."""
    with h5py.File(path, "r") as stream:
        name = next((key for key in ("force_constants", "fc2") if key in stream), None)
        if name is None:
            return {"refused": "it holds no dataset 'force_constants' (nor 'fc2')"}, None
        values = dataset(stream, name)
        header: dict[str, Any] = {"shape": [int(n) for n in values.shape], "unit": None, "rows": None}
        if len(values.shape) != 4 or values.shape[1:] != (atoms, 3, 3) or not 1 <= values.shape[0] <= atoms:
            return header, None
        if values.dtype.kind != "f":
            return {"refused": f"{name} must hold floating-point numbers; got {values.dtype}"}, None
        if "physical_unit" in stream:
            header["unit"] = unit(dataset(stream, "physical_unit"))[:80]
        if "p2s_map" in stream and values.shape[0] != atoms:
            rows = dataset(stream, "p2s_map")
            if rows.shape != values.shape[:1] or rows.dtype.kind not in "iu":
                return {"refused": f"p2s_map must name {values.shape[0]} atoms; got shape {rows.shape}"}, None
            header["rows"] = [int(row) for row in rows[()]]
        return header, np.ascontiguousarray(values[()], dtype="<f8")


if __name__ == "__main__":
    limit_memory(int(sys.argv[2]))
    try:
        found_header, found_values = read(sys.argv[1], int(sys.argv[2]))
    except SystemExit as refusal:
        found_header, found_values = json.loads(str(refusal)), None
    sys.stdout.buffer.write(json.dumps(found_header).encode() + b"\n")
    if found_values is not None:
        sys.stdout.buffer.write(found_values.data)
