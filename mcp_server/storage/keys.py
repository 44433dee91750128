"""The installation's own keys: made at first start, readable by their owner alone.

Three of them, so that none does two jobs: one encrypts columns (AES-256-GCM), one signs manifests (Ed25519; it can
be replaced, see `key_ring`), one hashes personal values (HMAC-SHA256).
"""

from __future__ import annotations

import hmac
import secrets
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mcp_server.core.canonical import canonical_bytes
from mcp_server.errors import CorruptArtefact, Unverified
from mcp_server.storage.key_ring import SigningKeys, is_signed_by, read_or_make
from mcp_server.storage.private_files import make_folder, refuse_readable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
KEY_ID_BYTES = 4
FORMAT = b"\x01"
PSEUDONYM = "hmac:"


class Keys:
    """Encrypts, signs and hashes. The bytes of the keys stay inside.

    Args:
        signing: the ring of keys that sign, or the 32 bytes of the only one.
    """

    def __init__(self, *, data: bytes, signing: bytes | SigningKeys, hashing: bytes) -> None:
        self._data, self._hashing = data, hashing
        self.ring = signing if isinstance(signing, SigningKeys) else SigningKeys(None, signing)
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
        data, hashing = (read_or_make(folder / f"{name}.key") for name in ("data", "hashing"))
        return cls(data=data, signing=SigningKeys(folder), hashing=hashing)

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
        return self.ring.sign(manifest)

    def verify(self, manifest: bytes, signature: bytes, public_key: bytes | None = None) -> bool:
        """Whether a signature is this installation's (or a given key's) over exactly these bytes.

        Args:
            public_key: 32 bytes; when None, any that signs or signed here and isn't revoked.
        """
        if public_key is not None:
            return is_signed_by(public_key, manifest, signature)
        signer = self.ring.signer(manifest, signature)
        return signer is not None and signer.state != "revoked"

    def check(self, manifest: bytes, signature: bytes, of: str = "It") -> bool:
        """As `verify`, and says so where it's only the key that isn't trusted any more.

        Args:
            of: what the manifest is of, for the sentence.
        Raises:
            Unverified: the key was revoked.
        """
        signer = self.ring.signer(manifest, signature)
        if signer is not None and signer.state == "revoked":
            raise Unverified(
                f"{of} is signed with key {signer.id}, which was revoked on {(signer.revoked or '')[:10]}.",
                hint="Train again, or compare its digest with one noted elsewhere and run courtside keys sign.",
            )
        return signer is not None

    @property
    def public_key(self) -> bytes:
        """The key that verifies what `sign` signs: 32 bytes, no secret."""
        return self.ring.signing.public

    @property
    def public_key_id(self) -> str:
        """16 hex digits that name the public key."""
        return self.ring.signing.id

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

    def __repr__(self) -> str:
        return "Keys(...)"


def _place(table: str, column: str, row: str) -> bytes:
    return f"{table}|{column}|{row}".encode()
