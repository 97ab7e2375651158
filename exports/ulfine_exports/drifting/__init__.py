"""Do new images look like those of the fit: of an exported file, and as a page."""
