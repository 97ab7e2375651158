"""Refuses image files whose form alone takes minutes or gigabytes to read, before a decoder sees them."""
