"""Circuits: networks run event by event."""
