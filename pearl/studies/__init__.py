"""Studies over trained models: comparisons, probes of z, Meta-World's own protocol."""
