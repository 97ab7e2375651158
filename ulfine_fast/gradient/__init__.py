"""What every method that is trained by gradient is made of."""
