"""A prediction as the columns that hold it."""

from __future__ import annotations

import json
from typing import Any

import orjson

from mcp_server.errors import CourtsideError, InvalidInput
from mcp_server.storage.keys import Keys
from mcp_server.storage.records import PredictionRecord
from mcp_server.storage.tables import predictions

COLUMNS = tuple(column.name for column in predictions.c)


def driver_row(keys: Keys, record: PredictionRecord, at: Any) -> tuple[Any, ...]:
    """The values in the order of `COLUMNS`, for a driver that SQLAlchemy doesn't stand in front of.

    Args:
        at: the record's moment as the driver takes it.
    Raises:
        InvalidInput: something isn't a JSON value.
    """
    try:
        values = {
            "id": record.id,
            "at": at,
            "model": record.model,
            "version": record.version,
            "digest": record.digest,
            "caller": record.caller,
            "request_id": record.request_id,
            "value": orjson.dumps(record.value).decode(),
            "probability": record.probability,
            "answer": orjson.dumps(record.answer).decode(),
            "flags": orjson.dumps(record.flags).decode(),
            "features": seal_features(keys, record),
        }
    except (TypeError, ValueError):
        raise _unstorable() from None
    return tuple(values[name] for name in COLUMNS)


def seal_features(keys: Keys, record: PredictionRecord) -> bytes:
    """A record's features as they are stored: personal columns replaced by their hashes, then all encrypted.

    Raises:
        InvalidInput: a feature isn't a JSON value.
    """
    features = dict(record.features)
    for column in record.personal:
        if features.get(column) is not None:
            features[column] = keys.pseudonym(column, features[column])
    return keys.encrypt(_write(features), table="predictions", column="features", row=record.id)


def open_features(keys: Keys, id: str, sealed: bytes) -> dict[str, Any]:
    """What `seal_features` sealed for the record with this id.

    Raises:
        CorruptArtefact: it was changed or moved, or encrypted with another key.
    """
    features: dict[str, Any] = json.loads(open_text(keys, id, sealed))
    return features


def open_text(keys: Keys, id: str, sealed: bytes) -> bytes:
    """The features as JSON, not parsed; raises as `open_features` does."""
    return keys.decrypt(sealed, table="predictions", column="features", row=id)


def _write(features: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(features)
    except TypeError:  # Among others an integer of more than 64 bits.
        try:
            return json.dumps(features, allow_nan=False).encode()
        except (TypeError, ValueError):
            raise _unstorable() from None


def _unstorable() -> CourtsideError:
    return InvalidInput("A prediction holds a value that isn't JSON.", hint="Send numbers, text, true, false or null.")
