"""The customer's portal: its page, and the data of the one entitlement that a link opens."""

from functions.portal import denials, forecast, graph, page, status
from shared.api import app, request

HANDLERS: dict[str, request.Handler] = {
    "openPortal": page.show,
    "openEmbeddedPortal": page.embed,
    "readPortalFile": page.read_file,
    "getPortal": status.read,
    "getPortalGraph": graph.read,
    "getPortalDenials": denials.read,
    "listPortalSeats": status.list_seats,
    "getPortalForecast": forecast.read,
}
handler = app.serve(HANDLERS)
