"""What words mean in every source alike: names of sets, labels, and names of image files."""
