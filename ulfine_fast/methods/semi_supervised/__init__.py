"""Published methods that learn from labelled and unlabelled rows, one file each."""
