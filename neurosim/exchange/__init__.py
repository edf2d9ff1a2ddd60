"""Other formats and libraries: NIR, snnTorch, Norse, SpikingJelly."""
