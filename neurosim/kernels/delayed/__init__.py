"""Sparse products of spikes with a delay for each synapse."""
