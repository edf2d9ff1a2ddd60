"""Where lava-nc is not installed, the tests that run it are not collected: some of them import from each other."""

from __future__ import annotations

import importlib.util

_NEED_LAVA = ("export", "graph", "integers", "learning", "neurons", "pythons", "runner", "script", "shim", "synapses")
collect_ignore = [] if importlib.util.find_spec("lava") else ["verify.py", *(f"test_{name}.py" for name in _NEED_LAVA)]
