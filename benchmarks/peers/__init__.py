"""Other circuit simulators, each in an environment of its own, and the scripts that run in them."""
