"""A run as a page that classifies pictures in a browser, without Python, a server or a network."""
