"""The model: meta-training, adaptation, saving and loading."""
