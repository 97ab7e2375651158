"""Parts that are not in this repository: in a file of yours, or in an installed package."""
