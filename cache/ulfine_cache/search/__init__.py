"""Nearest neighbours: the FAISS index, and exact search."""
