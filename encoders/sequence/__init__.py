"""Encoders whose belief depends on the transitions' order."""
