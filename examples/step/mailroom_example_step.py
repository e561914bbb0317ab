"""A step of Mailroom: it writes a line for each message to the file that LINES_FILE names."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from shared.host.step import Context, GiveUp, Notification


def write_line(message: Notification, context: Context) -> None:
    """Write the message's id, its users, its subject, and the SHA-256 of each file. A full disk is tried again."""
    data = message["data"]
    if data["message"]["subject"] == "Refuse me":
        raise GiveUp("the example refuses this subject")
    digests = []
    for file in data["attachments"]:
        digest = hashlib.sha256()
        for piece in context.read_file(file):
            digest.update(piece)
        digests.append(digest.hexdigest())
    with Path(os.environ["LINES_FILE"]).open("a", encoding="utf-8") as lines:
        lines.write("\t".join([context.id, ",".join(data["users"]), data["message"]["subject"] or "", *digests]) + "\n")
