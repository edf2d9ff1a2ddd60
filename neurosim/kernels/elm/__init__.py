"""The ELM neuron."""
