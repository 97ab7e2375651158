"""An exported file behind HTTP; only `server` may be imported without the extra ``serve``."""
