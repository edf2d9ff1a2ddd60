"""Plots, a file each."""
