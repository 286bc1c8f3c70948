"""A driver to be killed: job_driver.py TABLE N SECONDS KIND [WORKERS [BYTES_LIMIT]]."""

from __future__ import annotations

import os
import resource
import sys

from phonograph.errors import UserError
from phonograph.jobs import Job, run_jobs


def tell(what: str, done: int, total: int) -> None:
    sys.stdout.write(f"{what} {done} {total}\n")
    sys.stdout.flush()


def main(table: str, n: str, seconds: str, kind: str, workers: str = "2", limit: str = "") -> int:
    os.environ["JOB_TOY_SECONDS"] = seconds
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    jobs = [Job(kind=f"job_toys:{kind}", parameters={"n": i}) for i in range(int(n))]
    try:
        run_jobs(jobs, table, workers=int(workers), progress=tell)
    except UserError as error:
        sys.stdout.write(f"SENTENCE {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
