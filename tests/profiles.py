"""How many examples property tests and state machines try: few in every run, more on demand, the same ones in CI."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

# For hunting: ARRAYFS_EXAMPLES=50 tries fifty times as many, other ones every time; with ARRAYFS_SHRINK=0 what is found
# is shown as it was found.
FACTOR = int(os.environ.get("ARRAYFS_EXAMPLES", "1"))
_SHRINK = os.environ.get("ARRAYFS_SHRINK", "1") != "0"


def examples(count: int, *, steps: int = 50) -> settings:
    """Settings for about `count` examples, of up to `steps` steps each where they are those of a state machine."""
    return settings(
        max_examples=count * FACTOR,
        stateful_step_count=steps,
        derandomize=FACTOR == 1,
        deadline=None,
        database=None,
        print_blob=False,
        # Explaining a failure costs minutes with a state machine, and one failure at a time is enough.
        phases=(Phase.explicit, Phase.generate, Phase.shrink) if _SHRINK else (Phase.explicit, Phase.generate),
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
