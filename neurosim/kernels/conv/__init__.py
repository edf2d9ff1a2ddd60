"""Convolutions and pooling of spikes."""
