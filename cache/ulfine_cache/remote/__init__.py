"""Places that are not on this machine: URLs of object storage, and what can be read and written there."""
