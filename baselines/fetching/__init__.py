"""Crops and raw from an object store, with checksums, resumable."""
