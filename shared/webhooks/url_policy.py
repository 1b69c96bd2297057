"""The addresses to which a webhook may be sent: public ones, over https.

They are checked when an endpoint is registered, and again for the very address of a connection.
Hosts that the deployment names as insecure are exempt: plain http, whatever their address is.
"""

import ipaddress
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from urllib.parse import urlsplit

MAX_URL = 2_000
RESOLVE_SECONDS = 4
_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*\.?", re.ASCII)
# An IPv4 address inside an IPv6 one: 64:ff9b::/96 (RFC 6052) ends with it.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def insecure_hosts(text: str) -> frozenset[str]:
    """The hosts in a deployment's comma-separated list."""
    return frozenset(host.strip().lower() for host in text.split(",") if host.strip())


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet.

    Private, loopback, link-local (including cloud metadata), multicast and reserved addresses do
    not, nor does an IPv6 address that stands for such an IPv4 address.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def check_url(url: str, insecure: frozenset[str]) -> str:
    """The host of a URL to which a webhook may be sent, as far as the URL itself shows.

    Raises:
        ValueError: what is wrong with it.
    """
    if len(url) > MAX_URL or not url.isascii() or re.search(r"[\s\x00-\x1f\x7f\\]", url):
        raise ValueError(f"must be an ASCII URL of at most {MAX_URL} characters, without spaces")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if not host or port == 0:
        raise ValueError("is not a URL with a host")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("must hold neither a user name nor a fragment")
    if host in insecure and parts.scheme in ("http", "https"):
        return host
    if parts.scheme != "https":
        raise ValueError("must begin with https://")
    if _is_address(host) and not is_public(host):
        raise ValueError(f"{host} is not a public address")
    if not _is_address(host) and not _is_name(host):
        raise ValueError("must have a host name or an IP address in its usual form")
    return host


def check_kept(url: str) -> None:
    """Refuse a URL that an HTTP client would not send exactly as it is.

    Raises:
        ValueError: what is wrong with it.
    """
    if "#" in url:
        raise ValueError("must not hold '#': a fragment is not sent")
    if url.endswith("?"):
        raise ValueError("must not end with '?': an empty query is not sent")
    if re.search(r"%(?![0-9A-Fa-f]{2})", url):
        raise ValueError("must hold '%' only before two hexadecimal digits")


def _is_name(host: str) -> bool:
    """Whether it is a host name. Clients may read one that ends in a number as an address."""
    last = host.rstrip(".").rpartition(".")[2]
    return bool(_HOST.fullmatch(host)) and not re.fullmatch(r"\d+|0x[0-9a-f]*", last)


def check_resolves(host: str, insecure: frozenset[str]) -> None:
    """Look the host up; all of its addresses must be public.

    Raises:
        ValueError: it has none, or one that is not public.
    """
    if host in insecure or _is_address(host):
        return
    pool = ThreadPoolExecutor(1)
    try:
        # The resolver has no time-out of its own.
        found = pool.submit(socket.getaddrinfo, host, 443, type=socket.SOCK_STREAM)
        addresses = {str(info[4][0]) for info in found.result(RESOLVE_SECONDS)}
    except (OSError, TooLate, UnicodeError):
        raise ValueError(f"{host} cannot be resolved") from None
    finally:
        pool.shutdown(wait=False)
    if not all(is_public(address) for address in addresses):
        raise ValueError(f"{host} has an address that is not public")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
