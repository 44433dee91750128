"""The installation's own keys: made at first start, readable by their owner alone.

Three of them, so that none does two jobs: one encrypts columns (AES-256-GCM), one signs manifests (Ed25519), one
hashes personal values (HMAC-SHA256).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mcp_server.core.canonical import canonical_bytes
from mcp_server.errors import BadConfiguration, CorruptArtefact
from mcp_server.storage.private_files import create_once, make_folder, refuse_readable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
KEY_ID_BYTES = 4
FORMAT = b"\x01"
PSEUDONYM = "hmac:"
_NAMES = ("data", "signing", "hashing")


class Keys:
    """Encrypts, signs and hashes. The bytes of the keys stay inside."""

    def __init__(self, *, data: bytes, signing: bytes, hashing: bytes) -> None:
        self._data, self._signing, self._hashing = data, signing, hashing
        # Says which key sealed a value, and of the key nothing that helps.
        self._id = hmac.digest(data, b"courtside data key id", "sha256")[:KEY_ID_BYTES]

    @classmethod
    def open(cls, folder: Path) -> Keys:
        """Read the keys, making those that aren't there; blocking, a few milliseconds.

        Args:
            folder: made with mode 0700; of several processes that start at once, all get the same keys.
        Raises:
            BadConfiguration: others may read a key or the folder, or a key's file is damaged.
        """
        refuse_readable(make_folder(folder))
        return cls(**{name: _read_or_make(folder / f"{name}.key") for name in _NAMES})

    def encrypt(self, content: bytes, *, table: str, column: str, row: str) -> bytes:
        """Seal a value to its place: it can't be read, changed, or moved to another row, column or table.

        Returns:
            format (1 byte), key id (4), nonce (12), ciphertext and tag: 33 bytes more than `content`.
        """
        nonce = secrets.token_bytes(NONCE_BYTES)
        return FORMAT + self._id + nonce + self._cipher.encrypt(nonce, content, _place(table, column, row))

    def decrypt(self, sealed: bytes, *, table: str, column: str, row: str) -> bytes:
        """Open a value that `encrypt` sealed to this place.

        Raises:
            CorruptArtefact: it was changed or moved, or sealed with a key that isn't here.
        """
        from cryptography.exceptions import InvalidTag

        start = 1 + KEY_ID_BYTES
        if sealed[1:start] != self._id:
            raise CorruptArtefact(
                "The value was encrypted with another key.",
                hint="Put back the keys folder that belongs to this database.",
            )
        try:
            return self._cipher.decrypt(
                sealed[start : start + NONCE_BYTES], sealed[start + NONCE_BYTES :], _place(table, column, row)
            )
        except (InvalidTag, ValueError):
            raise CorruptArtefact(
                "An encrypted value was changed or moved.", hint="Restore the database from a backup."
            ) from None

    def sign(self, manifest: bytes) -> bytes:
        """The Ed25519 signature, 64 bytes."""
        return self._signer.sign(manifest)

    def verify(self, manifest: bytes, signature: bytes, public_key: bytes | None = None) -> bool:
        """Whether a signature is this installation's (or a given key's) over exactly these bytes.

        Args:
            public_key: 32 bytes; this installation's own when None.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(public_key or self.public_key).verify(signature, manifest)
        except (InvalidSignature, ValueError):
            return False
        return True

    @cached_property
    def public_key(self) -> bytes:
        """The key that verifies what `sign` signed: 32 bytes, no secret."""
        return self._signer.public_key().public_bytes_raw()

    @property
    def public_key_id(self) -> str:
        """16 hex digits that name the public key in a manifest."""
        return hashlib.sha256(self.public_key).hexdigest()[:16]

    def pseudonym(self, column: str, value: object) -> str:
        """What stands for a personal value: equal values of a column stay equal, and nobody can read them back.

        Args:
            value: a JSON value.
        Returns:
            `hmac:` and 32 hex digits.
        """
        return PSEUDONYM + hmac.digest(self._hashing, canonical_bytes([column, value]), "sha256").hex()[:32]

    def checking_seed(self, artefact: str) -> int:
        """What a check of a table draws its rows with: the same each time, and foreseen by nobody outside.

        With a seed that is known, poison could be put where a sample doesn't look.

        Args:
            artefact: digest of the table's bytes.
        Returns:
            0 to 2**32 - 1.
        """
        return int.from_bytes(hmac.digest(self._hashing, f"checking|{artefact}".encode(), "sha256")[:4], "big")

    @cached_property
    def _cipher(self) -> AESGCM:
        # Random nonces are safe for 2**32 values under one key.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._data)

    @cached_property
    def _signer(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._signing)

    def __repr__(self) -> str:
        return "Keys(...)"


def _place(table: str, column: str, row: str) -> bytes:
    return f"{table}|{column}|{row}".encode()


def _read_or_make(path: Path) -> bytes:
    if not path.exists():
        create_once(path, secrets.token_bytes(KEY_BYTES))
    refuse_readable(path)
    content = path.read_bytes()
    if len(content) != KEY_BYTES:
        raise BadConfiguration(f"The key {path} is damaged.", hint="Restore the keys folder from a backup.")
    return content
