"""The few-shot protocol and its statistics."""
