"""Labels as tasks of an executor: what a worker does with one, and what it leaves when it dies."""
