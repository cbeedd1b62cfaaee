"""Fast forms of plain PyTorch, each tested to equal it."""
