"""What one request, and all together, may take of memory and threads."""
