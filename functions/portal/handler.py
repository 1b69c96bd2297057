"""The pages for browsers: the customer's portal, the vendor's console, the API reference.

With what the portal shows of an entitlement, which the console shows as well.
"""

from functions.portal import console, denials, forecast, graph, page, reference, status
from shared.api import app, request

HANDLERS: dict[str, request.Handler] = {
    "openPortal": page.show,
    "openEmbeddedPortal": page.embed,
    "readPortalFile": page.read_file,
    "openConsole": console.show,
    "readDocs": reference.show,
    "getPortal": status.read,
    "getPortalGraph": graph.read,
    "getPortalDenials": denials.read,
    "listPortalSeats": status.list_seats,
    "getPortalForecast": forecast.read,
    "getGraph": graph.read,
    "getDenialSummary": denials.read,
    "getForecast": forecast.read,
}
handler = app.serve(HANDLERS)
