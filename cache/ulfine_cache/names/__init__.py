"""Names of files and classes, which may hold anything, as valid text, on a terminal, on a line and in a CSV cell."""
