"""What `diff`, `sort` and `drift` are made of."""
