"""From pictures to features: decoded ahead, encoded in batches, written shard by shard."""
