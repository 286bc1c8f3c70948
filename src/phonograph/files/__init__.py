"""Readers and writers of the files people use; every file is taken for untrusted data."""
