"""Thermal displacements against phonopy's generator: time, ratio and peak memory, in the same run.

    python benchmarks/sampling.py                  # 10,000 samples of 40 and of 1,080 atoms
    python benchmarks/sampling.py --samples 1000 --repeat 2 --rounds 5

Every run is a fresh process, so that peak memory is its own, and columns are medians over the rounds; ``added`` is
the peak above the memory before the run.  Both generators make seeded samples in which sample i depends on (seed, i)
only, and are timed from force constants (``total``, of which ``setup`` is the diagonalisation): ``displacements`` and
phonopy up to the displacements, ``set`` up to the whole set with positions, elements, split groups and origin,
``numbers`` only the standard normal numbers, below which no law can be.  On a busy machine compare CPU times.  Threads
are those of the environment (OMP_NUM_THREADS).  Force constants are central springs on cubic Ag3SBr.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
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


def mean_square(array):
    """Without a temporary, which would count as memory of the generator."""
    return float(np.vdot(array, array)) / array.size


def time_phonopy(phonon, samples):
    from phonopy.phonon.random_displacements import RandomDisplacements

    start, cpu = time.perf_counter(), time.process_time()
    generator = RandomDisplacements(phonon.supercell, phonon.primitive, phonon.force_constants)
    setup = time.perf_counter() - start
    generator.run(300.0, number_of_snapshots=samples, random_seed=1)
    return setup, time.perf_counter() - start, time.process_time() - cpu, mean_square(generator.u)


def read_from(phonon):
    from phonograph.testing import phonons_of
    from phonograph.types import Crystal, ForceConstants, Origin

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
    phonons = phonons_of(constants)
    setup = time.perf_counter() - start
    return phonons, setup


def time_displacements(phonon, samples):
    from phonograph.sampling import ThermalSampler
    from phonograph.sampling.laws import correlated_draws

    phonons, setup = read_from(phonon)
    sampler = ThermalSampler()
    start, cpu = time.perf_counter(), time.process_time()
    law = sampler.law(phonons)
    made = correlated_draws(law.modes, law.variance_amu_A2, 1, sampler.kind, range(samples), paired=False)
    return setup, time.perf_counter() - start, time.process_time() - cpu, mean_square(made)


def time_set(phonon, samples):
    from phonograph.sampling import ThermalSampler, sample

    phonons, setup = read_from(phonon)
    start, cpu = time.perf_counter(), time.process_time()
    made = sample(phonons, ThermalSampler(), samples, 1, name="benchmark")
    return setup, time.perf_counter() - start, time.process_time() - cpu, mean_square(made.displacements_A)


def time_numbers(phonon, samples):
    from phonograph.sampling.laws import normal_draws

    start, cpu = time.perf_counter(), time.process_time()
    made = normal_draws(1, "thermal", range(samples), 3 * len(phonon.supercell))
    return 0.0, time.perf_counter() - start, time.process_time() - cpu, mean_square(made)


GENERATORS = {
    "phonopy": time_phonopy,
    "displacements": time_displacements,
    "set": time_set,
    "numbers": time_numbers,
}


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


def median_rows(repeat, samples, rounds):
    """Return the median of every column of each generator, which take turns."""
    runs = [{name: in_child(name, repeat, samples) for name in GENERATORS} for _ in range(rounds)]
    return {
        name: {key: statistics.median(run[name][key] for run in runs) for key in runs[0][name]} for name in GENERATORS
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000, help="displacements of each cell")
    parser.add_argument("--repeat", type=int, nargs="+", default=[2, 6], help="cells of five atoms along each axis")
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes per generator; medians are shown")
    parser.add_argument("--child", nargs=3, metavar=("GENERATOR", "REPEAT", "SAMPLES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return measure(arguments.child[0], int(arguments.child[1]), int(arguments.child[2]))
    threads = os.environ.get("OMP_NUM_THREADS", "default")
    print(f"{os.cpu_count()} processors, OMP_NUM_THREADS {threads}, load {os.getloadavg()[0]:.1f}")
    print(" atoms      generator  total s    CPU s  setup s  peak MiB  added MiB    rms A  ratio  CPU ratio")
    for repeat in arguments.repeat:
        rows = median_rows(repeat, arguments.samples, arguments.rounds)
        for name, row in rows.items():
            times = f"{row['total']:>9.3f}{row['cpu']:>9.3f}{row['setup']:>9.3f}"
            ratio, cpu_ratio = (rows["phonopy"][key] / row[key] for key in ("total", "cpu"))
            memory = f"{row['peak']:>10.0f}{row['added']:>11.0f}"
            print(f"{5 * repeat**3:>6} {name:>14}{times}{memory}{row['rms']:>9.5f}{ratio:>7.2f}{cpu_ratio:>11.2f}")
        print(f"       the displacements take {arguments.samples * 5 * repeat**3 * 24 / 2**20:.0f} MiB")
    return None


if __name__ == "__main__":
    main()
