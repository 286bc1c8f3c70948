"""VASP's output files in the layout of VASP 6.3, of calculations whose numbers are planted.

Energy, forces and stress are those of a Lennard-Jones crystal, so that every route to them can be checked; bands are a
formula of k.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from phonograph.types import Crystal

VALENCE = {"Ag": 11.0, "S": 6.0, "Br": 7.0, "I": 7.0}
TITLES = {"Ag": "Ag 02Apr2005", "S": "S 06Sep2000", "Br": "Br 06Sep2000", "I": "I 08Apr2002"}
GAP_EV = 1.3
ENTROPY_EV = 0.004
"""−TS of the planted free energy: F = E₀ − 0.002 and so on."""


@dataclass
class Answer:
    """Everything that the files tell, in POSCAR's order; stress in ASE's sign, GPa."""

    energy: float
    free: float
    forces: Any
    stress: Any
    k_points: Any
    weights: Any
    levels: Any
    occupations: Any
    electrons: float


def answer(crystal: Crystal, divisions: tuple[int, ...] = (1, 1, 1), spins: int = 1, moment: int = 0) -> Answer:
    """Return the planted answer for a crystal."""
    from ase import Atoms
    from ase.calculators.lj import LennardJones

    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
    atoms.calc = LennardJones(sigma=2.0, epsilon=0.3, rc=4.5)
    energy = float(atoms.get_potential_energy())
    electrons = sum(VALENCE[symbol] for symbol in crystal.symbols)
    k_points, weights = mesh(divisions)
    levels, occupations = [], []
    for spin in range(spins):
        occupied = round(electrons + (moment if spin == 0 else -moment)) // 2 if spins == 2 else round(electrons / 2)
        bands = round(electrons / 2) + 6
        number = np.arange(bands)
        dispersion = np.cos(2 * np.pi * k_points).sum(axis=1)[:, None] * np.where(number < occupied, 0.05, 0.1)
        base = -12.0 + 0.2 * number + np.where(number >= occupied, GAP_EV, 0.0) + 0.01 * spin + 0.1 * energy
        levels.append(base[None] + np.where(number >= occupied, -1, 1) * dispersion)
        occupations.append(np.broadcast_to((number < occupied).astype(float), levels[-1].shape))
    return Answer(
        energy=energy,
        free=energy - ENTROPY_EV / 2,
        forces=atoms.get_forces(),
        stress=atoms.get_stress(voigt=False) / (0.1 * 0.00624150907446),  # eV/Å³ to kB, typed anew on purpose
        k_points=k_points,
        weights=weights,
        levels=np.array(levels),
        occupations=np.array(occupations),
        electrons=electrons,
    )


def mesh(divisions: tuple[int, ...]) -> tuple[Any, Any]:
    """Γ-centred mesh, k and −k as one point."""
    found: dict[tuple[int, ...], int] = {}
    for point in product(*(range(n) for n in divisions)):
        other = tuple(-i % n for i, n in zip(point, divisions, strict=True))
        key = min(point, other)
        found[key] = found.get(key, 0) + 1
    points = np.array([[i / n for i, n in zip(k, divisions, strict=True)] for k in found])
    return points - np.round(points - 1e-9), np.array(list(found.values())) / math.prod(divisions)


def settings(tags: Mapping[str, str], electrons: float, bands: int) -> dict[str, str]:
    """Return what VASP used, as text without units."""
    used = {
        "PREC": "normal", "EDIFF": "1e-4", "NELM": "60", "ISMEAR": "1", "SIGMA": "0.2", "ISPIN": "1", "NSW": "0",
        "IBRION": "-1", "ISIF": "2", "LNONCOLLINEAR": "F", "LSORBIT": "F", "LASPH": "F", "GGA": "--", "LHFCALC": "F",
        "AEXX": "0.0", "HFSCREEN": "0.0", "PSTRESS": "0.0", "LEPSILON": "F", "LDAU": "F", "LUSE_VDW": "F",
        "LDIPOL": "F", "EFIELD": "0.0", "NUPDOWN": "-1.0", "ENCUT": "400.0", "LREAL": "F", "ICHARG": "2",
        "NELECT": repr(electrons), "NBANDS": str(bands),
    }  # fmt: skip
    used |= {"IVDW": tags["IVDW"]} if "IVDW" in tags else {}
    return used | {name: tags[name] for name in tags if name in used}


def _typed(name: str, value: str) -> str:
    """Return one tag as vasprun.xml writes it."""
    text = value.strip(".").upper()
    if text in ("T", "F", "TRUE", "FALSE"):
        return f'   <i type="logical" name="{name}"> {text[0]}  </i>'
    try:
        number = float(value)
    except ValueError:
        return f'   <i type="string" name="{name}">{value}</i>'
    if name in ("ISMEAR", "NELM", "NSW", "IBRION", "ISIF", "ISPIN", "NBANDS"):
        return f'   <i type="int" name="{name}">{round(number):6d}</i>'
    return f'   <i name="{name}">{number:16.8f}</i>'


def _rows(values: Any, pad: str) -> str:
    return "\n".join(f"{pad}<v> " + " ".join(f"{x:16.8f}" for x in row) + " </v>" for row in np.atleast_2d(values))


def _structure(crystal: Crystal, name: str) -> str:
    label = f' name="{name}" ' if name else ""
    return f""" <structure{label}>
  <crystal>
   <varray name="basis" >
{_rows(crystal.cell_A, "    ")}
   </varray>
   <i name="volume">{crystal.volume_A3:16.8f} </i>
   <varray name="rec_basis" >
{_rows(np.linalg.inv(crystal.cell_A).T, "    ")}
   </varray>
  </crystal>
  <varray name="positions" >
{_rows(crystal.fractional % 1.0, "   ")}
  </varray>
 </structure>
"""


def _energies(total: float, free: float, pad: str) -> str:
    numbers = {"e_fr_energy": free, "e_wo_entrp": 2 * total - free, "e_0_energy": total}
    return "\n".join(f'{pad}<i name="{name}">{value:16.8f} </i>' for name, value in numbers.items())


def history(planted: Answer, steps: int) -> list[float]:
    """Free energies of the electronic steps: converging, the last two equal."""
    return [planted.free + 3.0 ** -(3 * step) for step in range(steps - 2)] + [planted.free] * min(2, steps)


def vasprun(
    crystal: Crystal,
    tags: Mapping[str, str],
    planted: Answer,
    *,
    steps: int = 9,
    more_steps: int = 0,
    last_change: float = 0.0,
    spectrum: str = "eigenvalues",
) -> str:
    """Return vasprun.xml; ``more_steps`` repeats the ionic step."""
    spins, points, bands = planted.levels.shape
    used = settings(tags, planted.electrons, bands)
    used["ENMAX"] = used.pop("ENCUT")
    kinds = list(dict.fromkeys(crystal.symbols))
    atoms = "\n".join(f"    <rc><c>{s:<2s}</c><c>{kinds.index(s) + 1:4d}</c></rc>" for s in crystal.symbols)
    types = "\n".join(
        f"    <rc><c>{crystal.symbols.count(k):4d}</c><c>{k:<2s}</c><c>     10.00000000</c><c>{VALENCE[k]:16.8f}</c>"
        f"<c>  PAW_PBE {TITLES[k]:<30s}</c></rc>"
        for k in kinds
    )
    free = history(planted, steps)
    free[-1] += last_change
    scf = "".join(
        '  <scstep>\n   <time name="dav">    0.01    0.01</time>\n   <energy>\n'
        + _energies(one + planted.energy - planted.free, one, "    ")
        + "\n   </energy>\n  </scstep>\n"
        for one in free
    )
    blocks = "\n".join(
        f'     <set comment="spin {s + 1}">\n'
        + "\n".join(
            f'      <set comment="kpoint {k + 1}">\n'
            + "\n".join(
                f"       <r>{planted.levels[s, k, b]:10.4f}{planted.occupations[s, k, b]:10.4f} </r>"
                for b in range(bands)
            )
            + "\n      </set>"
            for k in range(points)
        )
        + "\n     </set>"
        for s in range(spins)
    )
    step = f""" <calculation>
{scf}{_structure(crystal, "")}  <varray name="forces" >
{_rows(planted.forces, "   ")}
  </varray>
  <varray name="stress" >
{_rows(-planted.stress, "   ")}
  </varray>
  <energy>
{_energies(planted.energy + 7.0, planted.free, "   ")}
  </energy>
  <time name="totalsc">    0.11    0.12</time>
  <{spectrum}>
   <array>
    <dimension dim="1">band</dimension>
    <dimension dim="2">kpoint</dimension>
    <dimension dim="3">spin</dimension>
    <field>eigene</field>
    <field>occ</field>
    <set>
{blocks}
    </set>
   </array>
  </{spectrum}>
  <dos>
   <i name="efermi">{float(planted.levels.mean()):16.8f} </i>
   <total>
    <array>
     <dimension dim="1">gridpoints</dimension>
     <dimension dim="2">spin</dimension>
     <field>energy</field>
     <field>total</field>
     <field>integrated</field>
     <set>
{
        "".join(
            f'''      <set comment="spin {s + 1}">
       <r>   -13.1713     0.0000     0.0000 </r>
       <r>    -1.0000     1.0000     9.0000 </r>
      </set>
'''
            for s in range(spins)
        )
    }     </set>
    </array>
   </total>
  </dos>
 </calculation>
"""
    used |= {"PREC": used["PREC"].lower()[:6], "LREAL": "F" if used["LREAL"].strip(".")[0] in "Ff" else "T"}
    parameters = "\n".join(_typed(name, value) for name, value in used.items())
    incar = "\n".join(_typed(name, value) for name, value in tags.items())
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator>
  <i name="program" type="string">vasp </i>
  <i name="version" type="string">6.3.0  </i>
  <i name="subversion" type="string">20Jan22 (build) complex                          parallel </i>
  <i name="platform" type="string">LinuxIFC </i>
  <i name="date" type="string">2026 01 14 </i>
  <i name="time" type="string">19:06:57 </i>
 </generator>
 <incar>
{incar}
 </incar>
 <kpoints>
  <generation param="Gamma">
   <v type="int" name="divisions">       1        1        1 </v>
   <v name="usershift">      0.00000000       0.00000000       0.00000000 </v>
  </generation>
  <varray name="kpointlist" >
{_rows(planted.k_points, "   ")}
  </varray>
  <varray name="weights" >
{_rows(planted.weights[:, None], "   ")}
  </varray>
 </kpoints>
 <parameters>
  <separator name="electronic" >
{parameters}
  </separator>
  <separator name="response functions" >
   <i type="int" name="NELM">     1</i>
  </separator>
 </parameters>
 <atominfo>
  <atoms>{len(crystal):8d} </atoms>
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
{_structure(crystal, "initialpos")}{step * (1 + more_steps)}{_structure(crystal, "finalpos")}</modeling>
"""


def eigenval(crystal: Crystal, planted: Answer) -> str:
    """Return EIGENVAL."""
    spins, points, bands = planted.levels.shape
    lines = [f"{len(crystal):5d}{len(crystal):5d}    1{spins:5d}"]
    lines += ["  0.1137482E+02  0.2524431E-09  0.2524431E-09  0.2524431E-09  0.5000000E-15", "  1.000000000000000E-004"]
    lines += ["  CAR ", " unknown system", f"{round(planted.electrons):7d}{points:7d}{bands:7d}"]
    for k in range(points):
        head = " ".join(f"{x:14.7E}" for x in (*planted.k_points[k], planted.weights[k]))
        lines += [" ", f"  {head}"]
        for b in range(bands):
            levels = "".join(f"{x:14.6f}" for x in planted.levels[:, k, b])
            filled = "".join(f"{x:11.6f}" for x in planted.occupations[:, k, b])
            lines.append(f"{b + 1:5d}  {levels}{filled}")
    return "\n".join(lines) + "\n"


def outcar(
    crystal: Crystal, tags: Mapping[str, str], planted: Answer, *, steps: int = 9, converged: bool = True
) -> str:
    """Return OUTCAR: the parts that readers look at, in VASP's order and formats."""
    _, points, bands = planted.levels.shape
    used = settings(tags, planted.electrons, bands)
    kinds = list(dict.fromkeys(crystal.symbols))
    counts = [crystal.symbols.count(kind) for kind in kinds]
    logical = {name: value.strip(".")[0].upper() for name, value in used.items()}
    logical["LREAL"] = "F" if logical["LREAL"] == "F" else "T"
    titles = 2 * "".join(f" POTCAR:    PAW_PBE {TITLES[kind]}\n" for kind in kinds) + "".join(
        f"   VRHFIN ={kind}: planted\n   LEXCH  = PE\n   TITEL  = PAW_PBE {TITLES[kind]}\n" for kind in kinds
    )
    exponent = f"{float(used['EDIFF']) * 10:.0E}".replace("E", "").split("-")
    header = f""" vasp.6.3.0 20Jan22 (build) complex
 executed on             LinuxIFC date 2026.01.14  19:06:57
 running on    1 total cores

{titles}
 Dimension of arrays:
   k-points           NKPTS = {points:6d}   k-points in BZ     NKDIM = {points:6d}   number of bands    NBANDS={
        bands:7d}
   number of dos      NEDOS =    301   number of ions     NIONS = {len(crystal):6d}
   total plane-waves  NPLWV =  13824
   ions per type =            {"".join(f"{count:4d}" for count in counts)}

 Found {points:6d} irreducible k-points:

 Following reciprocal coordinates:
            Coordinates               Weight
{_columns(np.column_stack([planted.k_points, np.round(planted.weights / planted.weights.min())]), "10.6f")}

 Startparameter for this run:
   PREC   = {used["PREC"].lower()[:6]:<9} normal or accurate (medium, high low for compatibility)
   ISTART =      0    job   : 0-new  1-cont  2-samecut
   ICHARG = {used["ICHARG"]:>6}    charge: 1-file 2-atom 10-const
   ISPIN  = {used["ISPIN"]:>6}    spin polarized calculation?
   LNONCOLLINEAR = {logical["LNONCOLLINEAR"]:>6} non collinear calculations
   LSORBIT = {logical["LSORBIT"]:>6}    spin-orbit coupling
   LASPH  = {logical["LASPH"]:>6}    aspherical Exc in radial PAW

 Electronic Relaxation 1
   ENCUT  = {float(used["ENCUT"]):6.1f} eV  22.05 Ry    4.70 a.u.  25.33 25.33 25.33*2*pi/ulx,y,z
   NELM   = {used["NELM"]:>6};   NELMIN=  2; NELMDL= -5     # of ELM steps
   EDIFF  = 0.{exponent[0]}E-{exponent[1]}   stopping-criterion for ELM
   LREAL  = {logical["LREAL"]:>6}    real-space projection
{" LDA+U is selected, type is set to LDAUTYPE =  2" if logical["LDAU"] == "T" else ""}
 Ionic relaxation
   NSW    = {used["NSW"]:>6}    number of steps for IOM
   IBRION =     -1    ionic relax: 0-MD 1-quasi-New 2-CG
   PSTRESS=    0.0 pullay stress

  Ionic Valenz
   ZVAL   = {"".join(f"{VALENCE[kind]:6.2f}" for kind in kinds)}
   NELECT = {planted.electrons:12.4f}    total number of electrons
   NUPDOWN= {float(used["NUPDOWN"]):12.4f}    fix difference up-down

   ISMEAR = {used["ISMEAR"]:>5};   SIGMA  = {float(used["SIGMA"]):6.2f}  broadening in eV -4-tet -1-fermi 0-gaus

 Exchange correlation treatment:
   GGA     = {used["GGA"]:>5}    GGA type
   LEXCH   =     8    internal setting for exchange type
   LHFCALC = {logical["LHFCALC"]:>5}    Hartree Fock is set to
   AEXX    = {float(used["AEXX"]):9.4f} exact exchange contribution
   HFSCREEN= {float(used["HFSCREEN"]):9.4f} screening length

  energy-cutoff  :      300.00
  volume of cell : {crystal.volume_A3:12.2f}
{_lattice(crystal)}

 k-points in reciprocal lattice and weights: Gamma-centred mesh
{
        "".join(
            f"{k[0]:13.8f}{k[1]:12.8f}{k[2]:12.8f}{w:12.3f}" + chr(10)
            for k, w in zip(planted.k_points, planted.weights, strict=True)
        )
    }
 position of ions in fractional coordinates (direct lattice)
{_columns(crystal.fractional % 1.0, "12.8f")}

"""
    iterations = ""
    for number, free in enumerate(history(planted, steps), start=1):
        iterations += (
            f"----------------------------------------- Iteration    1({number:4d})  ----------------------\n\n"
        )
        iterations += f" number of electron {planted.electrons:13.7f} magnetization \n"
        iterations += f"  free energy    TOTEN  = {free:18.8f} eV\n\n"
    return (
        header + iterations + _outcar_end(crystal, planted, converged, "  Edisp (eV): -0.1" if "IVDW" in tags else "")
    )


def _outcar_end(crystal: Crystal, planted: Answer, converged: bool, dispersion: str) -> str:
    spins, points, bands = planted.levels.shape
    text = " E-fermi :   2.0000     XC(G=0):  -1.0024     alpha+bet : -0.5589\n\n"
    for s in range(spins):
        text += f"\n spin component {s + 1}\n" if spins == 2 else ""
        for k in range(points):
            x, y, z = planted.k_points[k]
            text += f"\n k-point {k + 1:5d} :   {x:10.4f}{y:10.4f}{z:10.4f}\n"
            text += "  band No.  band energies     occupation \n"
            for b in range(bands):
                # OUTCAR counts the electrons of a band, 2 without spin; the other files count states.
                filled = planted.occupations[s, k, b] * (3 - spins)
                text += f"{b + 1:7d}  {planted.levels[s, k, b]:12.4f}  {filled:11.5f}\n"
    reached = "because EDIFF is reached" if converged else "EDIFF was not reached (unconverged)"
    kb, stress = -planted.stress, ("XX", "YY", "ZZ", "XY", "YZ", "ZX")
    row = "".join(f"{x:12.5f}" for x in (kb[0, 0], kb[1, 1], kb[2, 2], kb[0, 1], kb[1, 2], kb[2, 0]))
    return (
        text
        + f"""--------------------------------------------------------------------------------------------------------

------------------------ aborting loop {reached} ----------------------------------------

  FORCE on cell =-STRESS in cart. coord.  units (eV):
  Direction    {"          ".join(stress)}
  in kB  {row}
  external pressure =       {np.trace(kb) / 3:.2f} kB  Pullay stress =        0.00 kB

 VOLUME and BASIS-vectors are now :
 -----------------------------------------------------------------------------
{_lattice(crystal)}

 POSITION                                       TOTAL-FORCE (eV/Angst)
 -----------------------------------------------------------------------------------
{
            "".join(
                "".join(f"{x:13.5f}" for x in place) + "   " + "".join(f"{x:14.6f}" for x in force) + chr(10)
                for place, force in zip(crystal.positions_A, planted.forces, strict=True)
            )
        } -----------------------------------------------------------------------------------
    total drift:                                0.000000      0.000000      0.000000

{dispersion}
  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy   TOTEN  = {planted.free:18.8f} eV

  energy  without entropy= {2 * planted.energy - planted.free:16.8f}  energy(sigma->0) = {planted.energy:16.8f}


 General timing and accounting informations for this job:
 ========================================================

                  Total CPU time used (sec):      124.972
                         Elapsed time (sec):      124.967

                          Minor page faults:            0
                          Major page faults:            0
                 Voluntary context switches:            0
"""
    )


def _lattice(crystal: Crystal) -> str:
    vectors = _columns(np.hstack([crystal.cell_A, np.linalg.inv(crystal.cell_A).T]), "13.9f")
    return f"      direct lattice vectors                 reciprocal lattice vectors\n{vectors}"


def _columns(table: Any, form: str) -> str:
    return "\n".join("".join(format(x, form) for x in row) for row in np.atleast_2d(table))


def potcar(element: str, title: str = "") -> str:
    """Return a stand-in for a potential: a title and words, nothing of VASP's."""
    name = f"PAW_PBE {title or TITLES[element]}"
    return f"  {name}\n   TITEL  = {name}\n planted\n End of Dataset\n"
