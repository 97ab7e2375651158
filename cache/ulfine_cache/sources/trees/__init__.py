"""Files in folders, on a disk or in an archive, and how they are read."""
