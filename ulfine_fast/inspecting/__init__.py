"""Looking at a cache's rows: which labels are wrong, which images are foreign, which are twice there, which to label."""
