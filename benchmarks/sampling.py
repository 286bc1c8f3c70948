"""Thermal displacements against phonopy's generator: time, ratio and peak memory, in the same run.

    python benchmarks/sampling.py                  # 10,000 samples of 40 and of 1,080 atoms
    python benchmarks/sampling.py --samples 1000 --repeat 2

Each generator runs in a fresh process, so that peak memory is its own; ``added`` is its peak above the memory
before the run.  Both make seeded samples in which sample i depends on (seed, i) only; both are timed from force
constants to displacements (``total``, of which ``setup`` is the diagonalisation); on a busy machine compare CPU
times.  Force constants are central springs on cubic Ag3SBr.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings

import numpy as np

LATTICE_A = 4.9
FRACTIONAL = np.array([[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.5, 0.5, 0.5], [0, 0, 0]])
SYMBOLS = ["Ag", "Ag", "Ag", "S", "Br"]


def supercell(repeat):
    """phonopy object with the springs' force constants on repeat³ cells of five atoms."""
    from ase import Atoms
    from ase.neighborlist import neighbor_list
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    unit = PhonopyAtoms(symbols=SYMBOLS, cell=LATTICE_A * np.eye(3), scaled_positions=FRACTIONAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        phonon = Phonopy(unit, supercell_matrix=np.eye(3, dtype=int) * repeat, primitive_matrix="P", log_level=0)
    cell = phonon.supercell
    atoms = Atoms(numbers=cell.numbers, positions=cell.positions, cell=cell.cell, pbc=True)
    i, j, distance, vector = neighbor_list("ijdD", atoms, 5.0)
    unit_vector = vector / distance[:, None]
    blocks = 48.0 / distance[:, None, None] ** 4 * unit_vector[:, :, None] * unit_vector[:, None, :]
    values = np.zeros((len(cell), len(cell), 3, 3))
    np.add.at(values, (i, j), -blocks)
    np.add.at(values, (i, i), blocks)
    phonon.force_constants = values
    return phonon


def time_phonopy(phonon, samples):
    from phonopy.phonon.random_displacements import RandomDisplacements

    start, cpu = time.perf_counter(), time.process_time()
    generator = RandomDisplacements(phonon.supercell, phonon.primitive, phonon.force_constants)
    setup = time.perf_counter() - start
    generator.run(300.0, number_of_snapshots=samples, random_seed=1)
    return setup, time.perf_counter() - start, time.process_time() - cpu, float((generator.u**2).mean())


def time_phonograph(phonon, samples):
    from phonograph.lattice import crystal_modes
    from phonograph.sampling import ThermalSampler, sample
    from phonograph.types import Crystal, ForceConstants, Origin, Phonons, Spectrum

    def crystal(cell):
        return Crystal(cell_A=cell.cell, positions_A=cell.positions, numbers=cell.numbers, masses_amu=cell.masses)

    constants = ForceConstants(
        unitcell=crystal(phonon.unitcell),
        supercell_matrix=np.array(phonon.supercell_matrix).T,
        supercell=crystal(phonon.supercell),
        values_eV_per_A2=phonon.force_constants,
        origin=Origin(room="benchmark"),
    )
    start = time.perf_counter()
    frequencies = crystal_modes(constants).frequencies_THz
    setup = time.perf_counter() - start
    empty = Spectrum(q=np.zeros((1, 3)), distance=np.zeros(1), frequencies_THz=np.zeros((1, 3)))
    phonons = Phonons(
        force_constants=constants,
        harmonic=None,
        method="file",
        temperature_K=None,
        frequencies_THz=frequencies,
        frequency_error_THz=np.zeros_like(frequencies),
        harmonic_frequencies_THz=frequencies,
        spectrum=empty,
        harmonic_spectrum=empty,
        rounds=(),
        converged=None,
        warnings=(),
        origin=Origin(room="benchmark"),
    )
    start, cpu = time.perf_counter(), time.process_time()
    made = sample(phonons, ThermalSampler(), samples, 1, name="benchmark")
    return setup, time.perf_counter() - start, time.process_time() - cpu, float((made.displacements_A**2).mean())


GENERATORS = {"phonopy": time_phonopy, "phonograph": time_phonograph}


def measure(generator, repeat, samples):
    """Run in the child and print time and memory as JSON."""
    phonon = supercell(repeat)
    # Imports and lazy initialisation are not what is measured.
    GENERATORS[generator](supercell(1), 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    setup, total, cpu, mean_square = GENERATORS[generator](phonon, samples)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    row = {"total": total, "cpu": cpu, "setup": setup, "peak": peak / 1024, "added": (peak - before) / 1024}
    print(json.dumps(row | {"rms": mean_square**0.5}))


def in_child(generator, repeat, samples):
    command = [sys.executable, __file__, "--child", generator, str(repeat), str(samples)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000, help="displacements of each cell")
    parser.add_argument("--repeat", type=int, nargs="+", default=[2, 6], help="cells of five atoms along each axis")
    parser.add_argument("--child", nargs=3, metavar=("GENERATOR", "REPEAT", "SAMPLES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return measure(arguments.child[0], int(arguments.child[1]), int(arguments.child[2]))
    print(" atoms   generator  total s    CPU s  setup s  peak MiB  added MiB    rms A")
    for repeat in arguments.repeat:
        rows = {name: in_child(name, repeat, arguments.samples) for name in GENERATORS}
        for name, row in rows.items():
            times = f"{row['total']:>9.3f}{row['cpu']:>9.3f}{row['setup']:>9.3f}"
            print(f"{5 * repeat**3:>6} {name:>11}{times}{row['peak']:>10.0f}{row['added']:>11.0f}{row['rms']:>9.5f}")
        ratio, cpu_ratio = (rows["phonopy"][key] / rows["phonograph"][key] for key in ("total", "cpu"))
        data = arguments.samples * 5 * repeat**3 * 24 / 2**20
        print(f"       phonopy/phonograph: {ratio:.2f} (CPU {cpu_ratio:.2f}); the displacements take {data:.0f} MiB")
    return None


if __name__ == "__main__":
    main()
