"""The page on which people label: what it shows, what it writes, and who may ask for it."""
