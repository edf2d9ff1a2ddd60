"""When the gradient of the weights of a sparse product with delays is computed spike by spike."""

from __future__ import annotations

from neurosim.kernels.common import policy

# Time of a synapse for the steps of a vector; that of a synapse and a spike is 1.
_TOGETHER = 1.5


def is_event_driven(inputs: int, events: int, lanes: int) -> bool:
    """Return whether a part of a row of synapses for each spike takes less time than `lanes` steps at once.

    Parameters
    ----------
    inputs, events : int
        Values of the input, and how many of them are not zero.
    lanes : int
        Steps of a vector.
    """
    return inputs == 0 or policy.choose(events * lanes <= _TOGETHER * inputs)
