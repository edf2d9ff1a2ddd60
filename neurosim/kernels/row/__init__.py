"""Layers one behind the other as one operation."""
