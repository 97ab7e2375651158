"""Engines: where the shards of a cache are made, in this process or on a cluster."""
