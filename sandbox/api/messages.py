"""Messages and the bytes of their attachments."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from sandbox.http_messages import Response, Stream, json_response
from sandbox.sample_data import attachment_chunks

if TYPE_CHECKING:
    from sandbox.api.call import Call


def show(call: Call) -> Response:
    """One message in full."""
    return json_response(call.serializer.message(call.find("message", call.front.world.messages)))


def download(call: Call) -> Response:
    """The bytes of an attachment, exactly as many as its description says."""
    attachment = call.find("attachment", call.front.world.attachments)
    company_id, attachment_id = call.key
    filename = quote(attachment.filename.encode("utf-8", "replace"), safe="")
    return Response(
        headers={
            "Content-Type": attachment.content_type,
            "Content-Disposition": f"attachment; filename*=UTF-8''{filename}",
        },
        body=Stream(
            length=attachment.size, chunks=lambda: attachment_chunks(company_id, attachment_id, attachment.size)
        ),
    )
