"""The pages for browsers: the customer's portal with the data it shows, and the API reference."""

from functions.portal import denials, forecast, graph, page, reference, status
from shared.api import app, request

HANDLERS: dict[str, request.Handler] = {
    "openPortal": page.show,
    "openEmbeddedPortal": page.embed,
    "readPortalFile": page.read_file,
    "readDocs": reference.show,
    "getPortal": status.read,
    "getPortalGraph": graph.read,
    "getPortalDenials": denials.read,
    "listPortalSeats": status.list_seats,
    "getPortalForecast": forecast.read,
}
handler = app.serve(HANDLERS)
