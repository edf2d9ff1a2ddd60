"""Learning rules, a file each: how gradients or weight changes are computed."""
