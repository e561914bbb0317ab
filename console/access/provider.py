"""Open the OpenID provider of the settings, if there is one; its packages are an extra."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from shared.openid import OpenIdProvider
    from shared.settings import Settings

#: The path to which the provider sends the browser back.
OIDC_RETURN = "/login/oidc/callback"
PACKAGES = ("authlib", "joserfc")


def require_provider(settings: Settings) -> None:
    """Raise ConfigurationError if OIDC_ISSUER is set, and nobody could log in by it."""
    if not settings.oidc_issuer:
        return
    if not (settings.oidc_client_id and settings.oidc_client_secret.get_secret_value()):
        raise ConfigurationError(
            "OIDC_ISSUER: needs OIDC_CLIENT_ID and OIDC_CLIENT_SECRET; copy them from the provider, or unset it"
        )
    if any(find_spec(name) is None for name in PACKAGES):
        raise ConfigurationError(
            "OIDC_ISSUER: the package Authlib is not installed; install mailroom[oidc], or unset OIDC_ISSUER"
        )


def open_provider(settings: Settings) -> OpenIdProvider | None:
    """Return the provider; None if OIDC_ISSUER is unset. Raises ConfigurationError."""
    require_provider(settings)
    if not settings.oidc_issuer:
        return None
    from shared.openid import OpenIdProvider  # noqa: PLC0415 -- not everybody has its packages

    return OpenIdProvider(
        settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret.get_secret_value(),
        redirect_uri=f"{settings.public_url}{OIDC_RETURN}",
    )
