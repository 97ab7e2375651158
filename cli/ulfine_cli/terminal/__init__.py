"""What depends on how wide a terminal is."""
