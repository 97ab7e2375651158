"""What a comparison is made of: contenders, their fits, what is kept of them, summaries, tests and tables."""
