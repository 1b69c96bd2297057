"""The public keys of signed leases."""

import os

from shared import kms, observability
from shared.api.request import Request, Response
from shared.aws import addresses_in
from shared.problems import Unavailable

_KEYS = addresses_in(os.environ.get("LEASE_KEYS", ""))


def read(_: Request) -> Response:
    """The keys as a JSON Web Key Set (RFC 7517, section 5).

    Raises:
        Unavailable: KMS does not answer. A part of the keys is never answered: whoever keeps them
            would forget the others.
    """
    try:
        keys = [dict(kms.public_jwk(arn)) for arn in dict.fromkeys(_KEYS)]
    except kms.KmsError as error:
        observability.logger.warning("no public keys", extra={"problem": str(error)})
        raise Unavailable from None
    return Response(200, {"keys": keys}, {"cache-control": "max-age=300"})
