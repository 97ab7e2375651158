"""Stage one: images in, CLIP features out."""
