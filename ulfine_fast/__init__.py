"""Long-tailed semi-supervised classification on cached CLIP features."""

__version__ = "0.1.0"
