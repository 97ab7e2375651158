"""One fit in several processes that torchrun started: each does its share of the rows, all hold the same model."""
