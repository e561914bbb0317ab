"""Write the OpenAPI document of the REST API to docs/openapi.json: `python -m docs.openapi_document`."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.fernet import Fernet

from console.web.app import create_app
from shared.settings import Settings

PATH = Path(__file__).with_name("openapi.json")


def main() -> None:
    """Write the document as the console serves it. No server is asked."""
    settings = Settings(
        database_url="postgresql://localhost/mailroom",
        redis_url="redis://localhost",
        token_keys=[Fernet.generate_key().decode()],
        secret_key="unused",  # noqa: S106 -- nothing is signed
    )
    app = create_app(settings)
    document = app.test_client().get("/api/openapi.json").get_json()
    current = app.extensions["mailroom"]
    current.pool.close()
    PATH.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
