"""Checkpoints: a folder of safetensors and JSON files, replaced as a whole or not at all."""
