"""The first page: what is wrong now, each fleet's devices by state, and the rollouts by state.

Each count is a link to what it counts.
"""

from gateway.manager.alerts import alert_reports
from gateway.manager.api import STATES
from gateway.manager.console.pages.alerts import is_news, subject_path
from gateway.manager.console.views import Shown, View, ViewAnswer, ViewRequest
from gateway.manager.reports import fleet_reports, rollout_counts
from gateway.manager.rollouts import RolloutState

ALERTS_SHOWN = 10
FLEETS_SHOWN = 200
"""The fleets with the most devices; the others are counted together."""


def show(request: ViewRequest) -> ViewAnswer:
    fleets = fleet_reports(request.store)
    found = request.store.read(lambda transaction: alert_reports(transaction, request.now))
    news = [(each, subject_path(each["subject"])) for each in found if is_news(each)]
    rollouts = rollout_counts(request.store)
    totals = {state: sum(each["states"].get(state, 0) for each in fleets) for state in STATES}
    largest = sorted(sorted(fleets, key=lambda each: -each["devices"])[:FLEETS_SHOWN], key=lambda each: each["fleet"])
    variables = {
        "alerts": news[:ALERTS_SHOWN],
        "fleets": largest,
        "left_out": len(fleets) - len(largest),
        "states": STATES,
        "totals": totals,
        "devices": sum(each["devices"] for each in fleets),
        "rollouts": {str(state): rollouts.get(state, 0) for state in RolloutState},
        "now": request.now,
    }
    return Shown("overview.html", variables)


VIEWS = (View("/", show),)
