"""What a model may be used for: gates, which of two is better, which answers count, whether pictures are alike."""
