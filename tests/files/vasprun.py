"""A vasprun.xml in the layout that VASP writes, for one calculation of a crystal whose forces are known."""

from __future__ import annotations

from typing import Any

import numpy as np


def _rows(values: Any, indent: str) -> str:
    return "\n".join(f"{indent}<v> " + " ".join(f"{x:15.8f}" for x in row) + " </v>" for row in np.atleast_2d(values))


def _structure(cell: Any, fractional: Any, name: str) -> str:
    named = f' name="{name}" ' if name else ""
    return f""" <structure{named}>
  <crystal>
   <varray name="basis" >
{_rows(cell, "    ")}
   </varray>
   <i name="volume"> {abs(np.linalg.det(cell)):.8f} </i>
   <varray name="rec_basis" >
{_rows(np.linalg.inv(cell).T, "    ")}
   </varray>
  </crystal>
  <varray name="positions" >
{_rows(fractional, "   ")}
  </varray>
 </structure>
"""


def vasprun_text(
    symbols: list[str],
    cell: Any,
    fractional: Any,
    forces: Any,
    energy: float = -1.0,
    steps: int = 8,
    limit: int = 60,
    more: Any = (),
    step_fs: float = 0.5,
) -> str:
    """Return the file of a static calculation with ``steps`` of at most ``limit`` electronic steps.

    ``more`` holds (fractional, forces, energy) of further ionic steps of a molecular dynamics run.
    """
    ionic = [(fractional, forces, energy), *more]
    kinds = list(dict.fromkeys(symbols))
    atoms = "\n".join(f"    <rc><c>{symbol:<2s}</c><c>{kinds.index(symbol) + 1:4d}</c></rc>" for symbol in symbols)
    types = "\n".join(
        f"    <rc><c>{symbols.count(kind):4d}</c><c>{kind:<2s}</c><c>  26.98000000</c><c>  3.00000000</c>"
        f"<c>  PAW_PBE {kind} 04Jan2001</c></rc>"
        for kind in kinds
    )
    tags = f"""  <i type="string" name="PREC">accurate</i>
  <i type="int" name="NELM">{limit}</i>
  <i type="int" name="NSW">{len(ionic) if more else 0}</i>
  <i type="int" name="IBRION">{0 if more else -1}</i>
  <i name="POTIM">  {step_fs:.8f}</i>
  <i type="int" name="ISPIN">1</i>
"""
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator>
  <i name="program" type="string">vasp </i>
  <i name="version" type="string">6.3.0  </i>
  <i name="subversion" type="string">20Jan22 (build) complex  parallel </i>
  <i name="platform" type="string">LinuxGNU </i>
  <i name="date" type="string">2024 01 01 </i>
  <i name="time" type="string">00:00:00 </i>
 </generator>
 <incar>
{tags} </incar>
 <kpoints>
  <generation param="Gamma">
   <v type="int" name="divisions">       1        1        1 </v>
   <v name="usershift">      0.00000000       0.00000000       0.00000000 </v>
  </generation>
  <varray name="kpointlist" >
   <v>       0.00000000       0.00000000       0.00000000 </v>
  </varray>
  <varray name="weights" >
   <v>       1.00000000 </v>
  </varray>
 </kpoints>
 <parameters>
 <separator name="electronic" >
{tags} </separator>
 <separator name="response functions" >
  <i type="int" name="NELM">1</i>
 </separator>
 </parameters>
 <atominfo>
  <atoms>{len(symbols):8d} </atoms>
  <types>{len(kinds):8d} </types>
  <array name="atoms" >
   <dimension dim="1">ion</dimension>
   <field type="string">element</field>
   <field type="int">atomtype</field>
   <set>
{atoms}
   </set>
  </array>
  <array name="atomtypes" >
   <dimension dim="1">type</dimension>
   <field type="int">atomspertype</field>
   <field type="string">element</field>
   <field>mass</field>
   <field>valence</field>
   <field type="string">pseudopotential</field>
   <set>
{types}
   </set>
  </array>
 </atominfo>
{_structure(cell, fractional, "initialpos")}{"".join(_step(cell, *one, steps) for one in ionic)}\
{_structure(cell, ionic[-1][0], "finalpos")}</modeling>
"""


def _step(cell: Any, fractional: Any, forces: Any, energy: float, steps: int) -> str:
    energies = "\n".join(
        f'   <i name="{name}"> {energy:16.8f} </i>' for name in ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    )
    electronic = (
        f'  <scstep>\n   <time name="dav">  1.00  1.00</time>\n   <energy>\n{energies}\n   </energy>\n  </scstep>\n'
    )
    return f""" <calculation>
{electronic * steps}{_structure(cell, fractional, "")}  <varray name="forces" >
{_rows(forces, "   ")}
  </varray>
  <varray name="stress" >
{_rows(np.zeros((3, 3)), "   ")}
  </varray>
  <energy>
{energies}
  </energy>
 </calculation>
"""
