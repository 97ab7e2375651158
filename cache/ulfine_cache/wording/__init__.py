"""How numbers of things and names are written in lines for people, in all rooms alike."""
