"""Sparse products of spikes."""
