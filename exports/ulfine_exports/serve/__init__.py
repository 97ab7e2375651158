"""An exported file behind HTTP: the Open Inference Protocol v2, pictures in and classes out, a page for people.

Only `server` may be imported without the extra ``serve``.
"""
