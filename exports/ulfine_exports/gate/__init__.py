"""What is compared before a file is written, and on which rows."""
