"""XDATCAR of VASP and text dumps of LAMMPS: every count is checked against the lines there are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from phonograph.errors import InputFileError
from phonograph.files.frames import Frames, elements_of
from phonograph.files.safety import check_elements, reading
from phonograph.types import MAX_ATOMS, Crystal, FloatArray, IntArray

_UNWRAPPED, _WRAPPED, _SCALED, _SCALED_UNWRAPPED = (
    ("xu", "yu", "zu"),
    ("x", "y", "z"),
    ("xs", "ys", "zs"),
    ("xsu", "ysu", "zsu"),
)


class _Lines:
    """Lines of a file, taken one after the other; a file that ends too early gives one sentence."""

    def __init__(self, text: str, place: str) -> None:
        self._lines = text.splitlines()
        while self._lines and not self._lines[-1].strip():
            self._lines.pop()
        self.place, self.next = place, 0

    def __bool__(self) -> bool:
        return self.next < len(self._lines)

    def peek(self) -> str:
        return self._lines[self.next] if self else ""

    def take(self, count: int, frame: int) -> list[str]:
        taken = self._lines[self.next : self.next + count]
        if len(taken) < count:
            raise InputFileError(
                f"{self.place} is truncated: it ends within frame {frame} (line {len(self._lines)}); copy it again, or "
                "remove the incomplete frame"
            )
        self.next += count
        return taken

    def count(self, word: str) -> int:
        """Return a number of atoms from the line before the next."""
        if not (word.isascii() and word.isdigit() and len(word) < 10 and 1 <= int(word) <= MAX_ATOMS):
            raise InputFileError(
                f"{self.place} line {self.next} must be a number of atoms, 1 to {MAX_ATOMS}; got {word[:20]!r}"
            )
        return int(word)


def _table(rows: list[str], columns: int, lines: _Lines, what: str) -> FloatArray:
    """Return the first ``columns`` numbers of each row."""
    words = [row.split() for row in rows]
    short = next((i for i, row in enumerate(words) if len(row) < columns), None)
    if short is not None:
        raise InputFileError(
            f"{lines.place} line {lines.next - len(rows) + short + 1} holds {len(words[short])} columns; expected "
            f"{columns} ({what}); the file is truncated or damaged"
        )
    with reading(f"{lines.place} (lines {lines.next - len(rows) + 1}–{lines.next})", what):
        return np.array([row[:columns] for row in words], dtype=np.float64)


def xdatcar_frames(text: str, place: str, reference: Crystal | None) -> Frames:
    """Return the frames of an XDATCAR, with one header or one before each frame (VASP 5 and later).

    It holds positions only; VASP does not say how far apart in time they are (POTIM × NBLOCK).
    """
    lines = _Lines(text, place)
    cell, numbers = np.zeros((3, 3)), np.zeros(0, dtype=np.int64)
    cells: list[FloatArray] = []
    fractions: list[FloatArray] = []
    while lines:
        if not lines.peek().strip().lower().startswith("direct configuration"):
            cell, found = _xdatcar_header(lines, reference, len(cells))
            if len(numbers) and not np.array_equal(numbers, found):
                raise InputFileError(f"{place}: other elements from frame {len(cells)} on; give one run at a time")
            numbers = found
            if not lines.peek().strip().lower().startswith("direct"):
                raise InputFileError(
                    f"{place} line {lines.next + 1} must be 'Direct configuration= …'; got {lines.peek()[:40]!r}"
                )
        lines.take(1, len(cells))
        fractions.append(_table(lines.take(len(numbers), len(cells)), 3, lines, "fractional coordinates"))
        cells.append(cell)
    return Frames(
        cells_A=np.array(cells), numbers=numbers, positions_A=np.einsum("fia,fab->fib", fractions, np.array(cells))
    )


def _xdatcar_header(lines: _Lines, reference: Crystal | None, frame: int) -> tuple[FloatArray, IntArray]:
    from ase.data import atomic_numbers

    header = lines.take(6, frame)
    with reading(f"{lines.place} (line {lines.next - 4})", "the scale factor of an XDATCAR"):
        scale = float(header[1].split()[0])
    if not (math.isfinite(scale) and scale > 0):
        raise InputFileError(f"{lines.place} line {lines.next - 4} must be a positive scale factor; got {scale:g}")
    with reading(f"{lines.place} (lines {lines.next - 3}–{lines.next - 1})", "lattice vectors"):
        cell = scale * np.array([row.split()[:3] for row in header[2:5]], dtype=np.float64)
    if cell.shape != (3, 3) or not np.isfinite(cell).all():
        raise InputFileError(
            f"{lines.place} must hold three lattice vectors in lines {lines.next - 3}–{lines.next - 1}"
        )
    words = header[5].split()
    if words and words[0].isdigit():
        # VASP 4 wrote no symbols.
        return cell, elements_of(reference, sum(lines.count(word) for word in words), lines.place)
    symbols = [word.split("/")[0].split("_")[0] for word in words]
    check_elements(symbols, f"{lines.place} line {lines.next}")
    counts = [lines.count(word) for word in lines.take(1, frame)[0].split()]
    if len(counts) != len(symbols) or not 1 <= sum(counts) <= MAX_ATOMS:
        raise InputFileError(
            f"{lines.place} line {lines.next} must give one number of atoms for each of {len(symbols)} elements, at "
            f"most {MAX_ATOMS} in all"
        )
    return cell, np.repeat([atomic_numbers[symbol] for symbol in symbols], counts).astype(np.int64)


@dataclass(frozen=True)
class _Snapshot:
    step: float
    time_ps: float | None
    cell_A: FloatArray
    origin_A: FloatArray
    columns: tuple[str, ...]
    rows: list[list[str]]


def dump_frames(text: str, place: str, reference: Crystal | None, step_fs: float | None) -> Frames:
    """Return the frames of a LAMMPS text dump in metal units: Å, Å/ps, eV/Å, ps.

    Atoms are sorted by ``id``.  Read are ``x y z``, ``xs ys zs``, ``xu yu zu`` and ``xsu ysu zsu``, where there are
    any ``vx vy vz`` and ``fx fy fz``, and ``element``; without it the reference names the elements.

    Parameters
    ----------
    text
        Content of the file.
    place
        Its name, for messages.
    reference
        Crystal that names the elements, or None.
    step_fs
        Length of one integrator step, fs: the dump numbers steps; None where unknown.
    """
    lines = _Lines(text, place)
    shots: list[_Snapshot] = []
    while lines:
        shots.append(_snapshot(lines, len(shots)))
    columns = shots[0].columns
    orders = []
    for index, shot in enumerate(shots):
        if shot.columns != columns or len(shot.rows) != len(shots[0].rows):
            raise InputFileError(f"{place} frame {index} holds other columns or another number of atoms than frame 0")
        orders.append(_sorted_rows(shot, place, index))
    kinds = _kinds(columns, orders[0], place, reference)
    for index, rows in enumerate(orders):
        for name in ("type", "element"):
            if name in columns and [r[columns.index(name)] for r in rows] != [
                r[columns.index(name)] for r in orders[0]
            ]:
                raise InputFileError(f"{place} frame {index}: the {name}s of the atoms are others than in frame 0")
    positions, wrapped = _dump_positions(shots, orders, place)
    return Frames(
        cells_A=np.array([shot.cell_A for shot in shots]),
        numbers=kinds,
        positions_A=positions,
        velocities_A_per_ps=_vectors(("vx", "vy", "vz"), columns, orders, place),
        forces_eV_per_A=_vectors(("fx", "fy", "fz"), columns, orders, place),
        times_fs=_dump_times(shots, step_fs),
        wrapped=wrapped,
    )


def _dump_times(shots: list[_Snapshot], step_fs: float | None) -> FloatArray | None:
    if all(shot.time_ps is not None for shot in shots):
        return np.array([shot.time_ps for shot in shots], dtype=np.float64) * 1000.0
    return None if step_fs is None else np.array([shot.step for shot in shots]) * step_fs


def _snapshot(lines: _Lines, frame: int) -> _Snapshot:
    values: dict[str, list[str]] = {}
    size = 0
    while True:
        (head,) = lines.take(1, frame)
        if not head.startswith("ITEM:"):
            raise InputFileError(f"{lines.place} line {lines.next} must start with 'ITEM:'; got {head[:40]!r}")
        name = head[5:].strip()
        if name.startswith("ATOMS"):
            break
        values[name] = lines.take(3 if name.startswith("BOX BOUNDS") else 1, frame)
        if name == "NUMBER OF ATOMS":
            size = lines.count(values[name][0].strip())
    box = next((name for name in values if name.startswith("BOX BOUNDS")), None)
    if box is None or "TIMESTEP" not in values or size == 0:
        raise InputFileError(
            f"{lines.place} frame {frame} must hold TIMESTEP, NUMBER OF ATOMS and BOX BOUNDS before its atoms"
        )
    unit = values.get("UNITS", ["metal"])[0].strip()
    if unit != "metal":
        raise InputFileError(
            f"{lines.place} is in LAMMPS units {unit[:20]!r}; expected 'metal' (Å, ps, eV); convert it"
        )
    columns = tuple(name[5:].split())
    rows = [row.split() for row in lines.take(size, frame)]
    short = next((i for i, row in enumerate(rows) if len(row) < len(columns)), None)
    if short is not None:
        raise InputFileError(
            f"{lines.place} line {lines.next - size + short + 1} holds {len(rows[short])} of {len(columns)} columns; "
            "the file is truncated or damaged"
        )
    with reading(f"{lines.place} frame {frame}", "the header of a LAMMPS dump"):
        step = float(values["TIMESTEP"][0])
        time = float(values["TIME"][0]) if "TIME" in values else None
        cell, origin = _box(box.split()[2:], np.array([row.split() for row in values[box]], dtype=np.float64))
    return _Snapshot(step, time, cell, origin, columns, rows)


def _box(flags: list[str], bounds: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return lattice vectors as rows and the origin, Å.

    Orthogonal boxes give lo and hi; restricted triclinic ones the bounding box and the tilts, from which LAMMPS's
    manual ("Howto triclinic") subtracts the tilts; general triclinic ones the vectors themselves.
    """
    if flags[:2] == ["abc", "origin"]:
        return bounds[:, :3].copy(), bounds[:, 3].copy()
    if flags[:3] != ["xy", "xz", "yz"]:
        return np.diag(bounds[:, 1] - bounds[:, 0]), bounds[:, 0].copy()
    xy, xz, yz = bounds[:, 2]
    low = bounds[:, 0] - [min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0]
    high = bounds[:, 1] - [max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0]
    cell = np.diag(high - low)
    cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
    return cell, low


def _sorted_rows(shot: _Snapshot, place: str, frame: int) -> list[list[str]]:
    if "id" not in shot.columns:
        raise InputFileError(
            f"{place} has no column 'id', so that atoms cannot be told apart from frame to frame; dump id as well"
        )
    column = shot.columns.index("id")
    with reading(f"{place} frame {frame}", "a LAMMPS dump with whole numbers as ids"):
        found = [int(row[column]) for row in shot.rows]
    if sorted(found) != list(range(1, len(found) + 1)):
        raise InputFileError(f"{place} frame {frame} must hold each id from 1 to {len(found)} once; dump all atoms")
    return [row for _, row in sorted(zip(found, shot.rows, strict=True), key=lambda pair: pair[0])]


def _kinds(columns: tuple[str, ...], rows: list[list[str]], place: str, reference: Crystal | None) -> IntArray:
    from ase.data import atomic_numbers

    if "element" not in columns:
        return elements_of(reference, len(rows), f"{place} (column 'element' is missing)")
    symbols = [row[columns.index("element")] for row in rows]
    check_elements(symbols, place)
    return np.array([atomic_numbers[symbol] for symbol in symbols], dtype=np.int64)


def _vectors(
    names: tuple[str, ...], columns: tuple[str, ...], orders: list[list[list[str]]], place: str
) -> FloatArray | None:
    if not set(names) <= set(columns):
        return None
    chosen = [columns.index(name) for name in names]
    with reading(place, f"a LAMMPS dump with numbers in columns {' '.join(names)}"):
        # float() is several times faster than NumPy's conversion of text.
        return np.array([[[float(row[c]) for c in chosen] for row in rows] for rows in orders], dtype=np.float64)


def _dump_positions(shots: list[_Snapshot], orders: list[list[list[str]]], place: str) -> tuple[FloatArray, bool]:
    columns = shots[0].columns
    origins = np.array([shot.origin_A for shot in shots])[:, None]
    for names in (_UNWRAPPED, _SCALED_UNWRAPPED, _WRAPPED, _SCALED):
        values = _vectors(names, columns, orders, place)
        if values is None:
            continue
        if names in (_SCALED, _SCALED_UNWRAPPED):
            cells = np.array([shot.cell_A for shot in shots])
            return np.einsum("fia,fab->fib", values, cells), names == _SCALED
        return values - origins, names == _WRAPPED
    raise InputFileError(f"{place} has no coordinates: expected columns x y z, xs ys zs, xu yu zu or xsu ysu zsu")
