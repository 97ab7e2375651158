"""HTML pages for people, each in one file that asks nobody for anything: the shell, the thumbnails and the figures."""
