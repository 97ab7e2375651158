"""Several caches of the same images as one."""
