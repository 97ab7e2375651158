"""Tables that name one image a row."""
