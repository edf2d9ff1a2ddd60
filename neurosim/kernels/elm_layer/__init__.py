"""A recurrent layer of ELM neurons with sparse connections, in one call over time."""
