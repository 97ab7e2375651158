"""A cache in the formats of other tools."""
