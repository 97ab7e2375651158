"""Who may ask: by which name of the server, from which page, with which key."""
