"""The folder of an experiment on disk: paths, manifest, checksums, lock, recorded dynamics, cache and saved subsets."""
