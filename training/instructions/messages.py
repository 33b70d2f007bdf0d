"""Between RadVLM's LLaVA JSON and Hugging Face chat `messages`, without loss in either direction.

`conversations` becomes `messages` (human is user, gpt is assistant) with the image as the first content part of
the first question, `image` becomes `images` of one path; every other key stays where it stands.
"""

from __future__ import annotations

from typing import Any

from inference.prompts import IMAGE_TOKEN

_ROLES = {"human": "user", "gpt": "assistant", "system": "system"}
_SPEAKERS = {role: speaker for speaker, role in _ROLES.items()}
_MARK = f"{IMAGE_TOKEN}\n"
_IMAGE_PART = {"type": "image"}

Record = dict[str, Any]


def to_messages(record: Record) -> Record:
    """Chat form of one LLaVA record; raises ValueError where it is not in RadVLM's form.

    That form has one image, whose `<image>` and line feed open the first question and stand nowhere else.
    """
    fresh: Record = {}
    for key, value in record.items():
        if key == "conversations":
            fresh["messages"] = _messages(value)
        elif key == "image":
            fresh["images"] = [value]
        elif key in ("messages", "images"):
            raise ValueError(f"the record already has a key {key!r}")
        else:
            fresh[key] = value
    return fresh


def to_llava(record: Record) -> Record:
    """LLaVA form of one chat record; the inverse of `to_messages`, raises ValueError for any other form."""
    fresh: Record = {}
    for key, value in record.items():
        if key == "messages":
            fresh["conversations"] = _conversations(value)
        elif key == "images":
            (fresh["image"],) = value
        elif key in ("conversations", "image"):
            raise ValueError(f"the record already has a key {key!r}")
        else:
            fresh[key] = value
    return fresh


def _messages(conversations: list[Record]) -> list[Record]:
    messages = []
    marked = False
    for spoken in conversations:
        if set(spoken) != {"from", "value"} or spoken["from"] not in _ROLES:
            raise ValueError("a turn needs exactly `from` (human, gpt, system) and `value`")
        text, parts = spoken["value"], []
        if spoken["from"] == "human" and not marked:
            marked = True
            if not text.startswith(_MARK):
                raise ValueError(f"the first question does not begin with {IMAGE_TOKEN} and a line feed")
            text = text.removeprefix(_MARK)
            parts.append(dict(_IMAGE_PART))
        if IMAGE_TOKEN in text:
            raise ValueError(f"{IMAGE_TOKEN} stands elsewhere than at the first question's beginning")
        parts.append({"type": "text", "text": text})
        messages.append({"role": _ROLES[spoken["from"]], "content": parts})
    return messages


def _conversations(messages: list[Record]) -> list[Record]:
    conversations = []
    for message in messages:
        *images, text = message["content"]
        if images not in ([], [_IMAGE_PART]) or text["type"] != "text":
            raise ValueError("a message holds at most the image, then one text")
        mark = _MARK if images else ""
        conversations.append({"from": _SPEAKERS[message["role"]], "value": mark + text["text"]})
    return conversations
