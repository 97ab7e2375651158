"""The frozen encoders: found, loaded, rewritten for speed, and asked prompts."""
