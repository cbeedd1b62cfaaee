"""Encoders whose belief pools the transitions, whatever their order."""
