"""Makers of hostile files and requests, and `make attacks`, which tries them."""
