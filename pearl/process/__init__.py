"""The running process: its output, signals, threads and garbage collection."""
