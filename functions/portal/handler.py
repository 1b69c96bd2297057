"""The customer's window: its page, and the data of the one entitlement that a link opens."""

from functions.portal import denials, forecast, graph, page, state
from shared.api import app, request

ROUTES: dict[str, request.Handler] = {
    "openPortal": page.show,
    "openEmbeddedPortal": page.embed,
    "readPortalFile": page.read_file,
    "getPortal": state.read,
    "getPortalGraph": graph.read,
    "getPortalDenials": denials.read,
    "listPortalSeats": state.list_seats,
    "getPortalForecast": forecast.read,
}
handler = app.serve(ROUTES)
