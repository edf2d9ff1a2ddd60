"""The learning rate over the epochs of a run."""

from __future__ import annotations

from typing import Any

from torch.optim.lr_scheduler import CosineAnnealingLR


class Cosine(CosineAnnealingLR):
    """The learning rate falls to zero along half a cosine over the epochs of a run.

    A run that is resumed with another number of epochs gets the rates of a run of that number from the epoch on in
    which it is resumed; `CosineAnnealingLR` would keep the old number, and train added epochs at rate 0.
    """

    may_change = ("T_max",)  # in a resumed run

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state of the schedule; the number of epochs is that of this object."""
        epochs = self.T_max
        same = state_dict["T_max"] == epochs
        super().load_state_dict({**state_dict, "T_max": epochs})
        if not same:
            # The same bits as before where nothing changed: torch computes each rate from the one before.
            for group, rate in zip(self.optimizer.param_groups, self._get_closed_form_lr(), strict=True):
                group["lr"] = rate
            self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
