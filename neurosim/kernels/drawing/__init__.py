"""Synapses drawn by rule: each random number is a word at a counter, so that nothing depends on threads or chunks."""
