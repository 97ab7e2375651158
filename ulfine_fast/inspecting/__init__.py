"""Looking at a cache's rows: wrong labels, foreign images, duplicates, and what to label next."""
