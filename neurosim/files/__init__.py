"""Files: whole or not at all, guarded HDF5, bundled TOML data."""
