"""The version of the distribution, which setuptools reads from here without importing it."""

__version__ = "0.1.0"
