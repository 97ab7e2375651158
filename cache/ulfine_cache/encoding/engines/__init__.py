"""Engines: where the shards of a cache and the parts of predictions are made, in this process or on a cluster."""
