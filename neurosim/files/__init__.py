"""Files: atomic writes, guarded HDF5, bundled TOML data, collected problems."""
