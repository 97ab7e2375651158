"""Tar files with labels beside the images."""
