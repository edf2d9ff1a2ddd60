"""What the operations share: packed bits, buffers, direct autograd functions, matrix products, availability."""
