"""A recurrent population: linear synapse, neurons and loop."""
