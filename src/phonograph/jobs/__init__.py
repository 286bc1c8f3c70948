"""Jobs that are computed once: plain JSON in, plain JSON out, kept in a table that survives any kill."""

from phonograph.jobs.job import Job, JobResult
from phonograph.jobs.table import JobTable, open_jobs
from phonograph.jobs.verb import jobs_folder, run_jobs

__all__ = ["Job", "JobResult", "JobTable", "jobs_folder", "open_jobs", "run_jobs"]
