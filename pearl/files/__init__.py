"""Atomic and link-safe writing, bounded reading, and the lock on a folder."""
