"""What helps a person to run VASP on all folders that wait: a README and a Slurm array job to adapt."""

from __future__ import annotations

from pathlib import Path

from phonograph.atomic import write_text
from phonograph.labels.engines.jobs import FILE

README = f"""VASP calculations that wait

Each folder listed in {FILE} holds POSCAR, INCAR, KPOINTS and POTCAR.spec (the name of the potential of each element, in
the order of POSCAR). Where you named a library of potentials, POTCAR is there too; else put it together, one potential
after the other in that order.

1. Run VASP in every folder: adapt submit.slurm (account, modules, path) and submit it with
       sbatch --array=1-$(($(wc -l < {FILE}) - 1)) submit.slurm
   Folders that are finished are skipped, so the same line submits what is left.
2. Keep vasprun.xml (or OUTCAR) and EIGENVAL in each folder; gzip is fine.
3. Run the same phonograph command again: it reads what is finished and checks that structure, INCAR, KPOINTS and
   potentials are those asked for. Change nothing but NCORE, NPAR, KPAR, NSIM in INCAR.

An electronic loop that did not converge, or an output that is not the answer to these inputs, becomes a named hole;
repair it in its folder (ALGO, NELM, mixing), run VASP again, and label with retry_failed.
"""

SLURM = f"""#!/bin/bash
#SBATCH --job-name=labels
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=16
#SBATCH --time=02:00:00
##SBATCH --account=YOUR_ACCOUNT
##SBATCH --partition=YOUR_PARTITION

# Line N + 1 of {FILE} names the folder of array task N.
cd "$SLURM_SUBMIT_DIR" || exit 1
folder=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {FILE} | cut -d, -f1)
cd "$folder" || exit 1
if tail -n 1 vasprun.xml 2>/dev/null | grep -q "</modeling>"; then
    exit 0
fi
# module load VASP
export OMP_NUM_THREADS=1
srun vasp_std > vasp.out 2>&1
"""


def write_vasp_guide(root: Path) -> None:
    """Write README.txt and submit.slurm where they are not there yet; adapted ones stay."""
    for name, text in (("README.txt", README), ("submit.slurm", SLURM)):
        if not (root / name).exists():
            write_text(root / name, text)
