"""Decisions of people about labels: the file that keeps them, and a cache whose labels they change."""
