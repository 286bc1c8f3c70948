"""SQLite files of ours: one writer, any number of readers, checked when opened, errors in one sentence."""
