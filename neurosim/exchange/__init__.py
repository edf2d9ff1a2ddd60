"""Exchange with other formats and libraries: NIR, snnTorch, Norse, SpikingJelly."""
