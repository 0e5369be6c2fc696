"""Every scenario by its name."""

from loadtests.scenario import Scenario
from loadtests.scenarios import burst, chat, decision, limits, normal

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        decision.DECISION,
        normal.NORMAL,
        chat.CHAT,
        burst.BURST,
        normal.SOAK,
        limits.LIMITS,
    )
}
