"""Images in columns and arrays instead of files."""
