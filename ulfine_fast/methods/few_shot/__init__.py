"""Published methods of few-shot adaptation, which learn from labelled rows and text, one file each."""
