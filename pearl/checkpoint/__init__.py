"""Checkpoints: folders of safetensors and JSON files that are replaced atomically."""
