"""The training loop and what it needs: checkpoints, evaluation, history, precision."""
