"""Exports: the writer with its manifest, the file formats, and pushing to the hub."""
