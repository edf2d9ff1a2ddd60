"""The clocked, event-driven loop of a circuit: neurons, deliveries and sources of one step after the other."""
