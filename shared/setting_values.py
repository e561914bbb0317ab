"""The values that settings may have: lists, addresses, networks, keys, secrets in files. Pure."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from pydantic import AfterValidator, AnyHttpUrl, BeforeValidator, Field, SecretStr, TypeAdapter, ValidationError
from pydantic_settings import NoDecode

#: What editors, spreadsheets and shells leave around a value, invisible characters among them.
_AROUND = " \t\r\n\f\v\0\xa0\u200b\u2060\ufeff"
_QUOTES = ("''", '""', "\u2018\u2019", "\u201c\u201d")
#: Kubernetes sets NAME_PORT for a service called NAME.
_KUBERNETES_PORT = re.compile(r"(tcp|udp|sctp)://.*")
#: conda's compilers set HOST to the machine's type.
_CONDA_HOST = re.compile(r"\w+-(conda|apple)[\w.]*(-[\w.]+)*")
_HTTP_URL = TypeAdapter(AnyHttpUrl)
_DSN = re.compile(r"https?://[\w-]+(:[\w-]+)?@[\w.-]+(:\d{1,5})?(/[\w.-]+)*/\d+")


def cleaned(text: str) -> str:
    """Return the text without invisible characters and without one or more pairs of quotes around it."""
    text = text.strip(_AROUND)
    while len(text) > 1 and text[0] + text[-1] in _QUOTES:
        text = text[1:-1].strip(_AROUND)
    return text


def is_of_platform(name: str, text: str) -> bool:
    """Whether a platform set this variable for a purpose of its own."""
    if name.endswith("port"):
        return _KUBERNETES_PORT.fullmatch(text) is not None
    return name == "host" and _CONDA_HOST.fullmatch(text) is not None


def split_at_commas(value: Any) -> Any:
    """Return the parts of a list in one text."""
    return [part for each in value.split(",") if (part := cleaned(each))] if isinstance(value, str) else value


def checked_http_url(value: str) -> str:
    """Return the address without a slash at its end."""
    try:
        url = _HTTP_URL.validate_python(value)
    except ValidationError:
        raise ValueError("not an address as in https://host") from None
    if not value.startswith(("https://", "http://")) or url.username or url.password or url.query or url.fragment:
        raise ValueError("an address begins with https:// (or http://) and has neither user, query nor fragment")
    return value.rstrip("/")


def _checked_fernet_key(value: SecretStr) -> SecretStr:
    try:
        Fernet(value.get_secret_value())
    except ValueError:
        raise ValueError("not a Fernet key; `mailroom keys generate` prints one") from None
    return value


def checked_origin(value: str) -> str:
    """Return the URL of a host alone, without a slash at its end."""
    parts = urlsplit(url := value.rstrip("/"))
    try:
        is_origin = checked_http_url(f"{parts.scheme}://{parts.netloc}").lower() == url.lower()
    except ValueError:
        is_origin = False
    if not is_origin:
        raise ValueError("write it as https://console.your.host, without a path: the console needs a host of its own")
    return url


def _checked_network(value: Any) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(value)
    except ValueError:
        raise ValueError("name addresses or networks as in 10.1.2.3,10.0.0.0/8,fd00::/8") from None
    if network.prefixlen == 0:
        raise ValueError(f"{network} is everybody; name the networks that you mean")
    return network


Days = Annotated[int, Field(ge=0, le=36_500)]
Url = Annotated[str, AfterValidator(checked_http_url)]
Origin = Annotated[str, AfterValidator(checked_origin)]
Networks = Annotated[
    tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_checked_network)], ...],
    NoDecode,
    BeforeValidator(split_at_commas),
]
Keys = Annotated[list[SecretStr], NoDecode, BeforeValidator(split_at_commas)]
FernetKeys = Annotated[
    list[Annotated[SecretStr, AfterValidator(_checked_fernet_key)]], NoDecode, BeforeValidator(split_at_commas)
]


def _checked_dsn(value: SecretStr) -> SecretStr:
    """Check the form, which the library would raise an error for later."""
    if value.get_secret_value() and _DSN.fullmatch(value.get_secret_value()) is None:
        raise ValueError("not a DSN of Sentry; copy it from the project's settings: https://KEY@HOST/NUMBER")
    return value


Dsn = Annotated[SecretStr, AfterValidator(_checked_dsn)]


def secret_text(content: bytes) -> str:
    """Return the secret in a file in UTF-8, or in UTF-16 with a byte order mark, as Windows writes it.

    Raises ValueError when it is no text or empty.
    """
    try:
        text = content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not text in UTF-8 or UTF-16") from None
    if not (found := cleaned(text)):
        raise ValueError("is empty")
    return found
