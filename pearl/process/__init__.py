"""The process that runs: its output, signals, threads, and start."""
