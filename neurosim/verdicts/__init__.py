"""One verdict over all targets and formats: exact, bounded, or refused."""

from neurosim.verdicts.registry import JUDGES, Judge
from neurosim.verdicts.running import verify_all
from neurosim.verdicts.verdict import TargetVerdict, TargetVerdicts, bounded, exact, refused

__all__ = ["JUDGES", "Judge", "TargetVerdict", "TargetVerdicts", "bounded", "exact", "refused", "verify_all"]
