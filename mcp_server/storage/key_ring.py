"""The keys that sign: one at a time, those that signed before it, and those that are revoked.

The private key is a file of its own; which one it is, and every public key, stands in the ring, a file that is replaced
whole. A change of it is proposed first, and made once the audit row about it is committed; see `key_changes`. Without
a ring there is one key, in `signing.key`.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mcp_server.errors import BadConfiguration, Conflict, NotFound
from mcp_server.storage.private_files import create_once, refuse_readable, replace_whole, sync_folder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT = "courtside.keys/1"
KEY_BYTES = 32
FIRST, RING = "signing.key", "signing.ring"
_ATTEMPTS = 5

KeyState = Literal["signing", "retired", "revoked"]
Mark = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key of this installation.

    Args:
        public: 32 bytes.
        state: `signing`: it signs now; `retired`: what it signed stays trusted; `revoked`: what it signed isn't.
        since: when it began to sign, ISO 8601; None for the first one.
        until: when it was retired; revoked: when it was revoked, and why.
    """

    public: bytes
    state: KeyState
    since: str | None = None
    until: str | None = None
    revoked: str | None = None
    why: str = ""

    @property
    def id(self) -> str:
        """16 hex digits that name it."""
        return hashlib.sha256(self.public).hexdigest()[:16]

    def pem(self) -> str:
        """The key as others read it: SubjectPublicKeyInfo in PEM."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        key = Ed25519PublicKey.from_public_bytes(self.public)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A change of the ring that is proposed and not made yet.

    Args:
        do: `rotate` to the key, or `revoke` it.
        public: of the key.
        token: stands in the audit row too: with it committed, the change is to be made.
    """

    do: Literal["rotate", "revoke"]
    public: bytes
    at: str
    token: str
    why: str = ""

    @property
    def key(self) -> str:
        return SigningKey(self.public, "signing").id


@dataclass(frozen=True, slots=True)
class _Content:
    keys: tuple[SigningKey, ...]
    pending: KeyChange | None = None

    @property
    def signing(self) -> SigningKey:
        return next(key for key in self.keys if key.state == "signing")

    def changed(self) -> _Content:
        """With the proposed change made."""
        change = self.pending
        if change is None:
            return self
        if change.do == "revoke":
            keys = [
                replace(key, state="revoked", revoked=change.at, why=change.why) if key.id == change.key else key
                for key in self.keys
            ]
        else:
            keys = [
                replace(key, state="retired", until=change.at) if key.state == "signing" else key for key in self.keys
            ]
            keys.append(SigningKey(change.public, "signing", since=change.at))
        return _Content(tuple(keys))

    def to_bytes(self) -> bytes:
        pending = None if self.pending is None else _plain(self.pending)
        content = {"format": FORMAT, "keys": [_plain(key) for key in self.keys], "pending": pending}
        return json.dumps(content, indent=1).encode()

    @classmethod
    def of_bytes(cls, raw: bytes) -> _Content:
        """Raises ValueError, KeyError or TypeError where it isn't a ring."""
        content = json.loads(raw)
        keys = tuple(SigningKey(**{**key, "public": bytes.fromhex(key["public"])}) for key in content["keys"])
        pending = content["pending"]
        change = None if pending is None else KeyChange(**{**pending, "public": bytes.fromhex(pending["public"])})
        states = [key.state for key in keys]
        if content["format"] != FORMAT or states.count("signing") != 1 or not set(states) <= set(_STATES):
            raise ValueError(FORMAT)
        if any(len(key.public) != KEY_BYTES for key in keys) or (change is not None and change.do not in _CHANGES):
            raise ValueError(FORMAT)
        return cls(keys, change)


_STATES = ("signing", "retired", "revoked")
_CHANGES = ("rotate", "revoke")


class SigningKeys:
    """The keys of a folder; a change that another process makes is seen at the next use.

    Args:
        folder: of the files; None for one key that is in memory alone, as `private`.
    Raises:
        BadConfiguration: others may read a file of it, or one is damaged or missing.
    """

    def __init__(self, folder: Path | None, private: bytes | None = None) -> None:
        self._folder = folder
        self._mark: Mark | None = None
        if folder is None:
            assert private is not None
            self._private = private
            self._content = _Content((SigningKey(_public(private), "signing"),))
        else:
            self._load()

    def sign(self, content: bytes) -> bytes:
        """The Ed25519 signature of the key that signs now, 64 bytes."""
        self._refresh()
        return self._signer.sign(content)

    def signer(self, content: bytes, signature: bytes) -> SigningKey | None:
        """The key of this installation that signed exactly these bytes, whatever its state; None where none did."""
        self._refresh()
        # The one that signs now first: it's nearly always that one.
        for key in sorted(self._content.keys, key=lambda one: one.state != "signing"):
            if is_signed_by(key.public, content, signature):
                return key
        return None

    @property
    def keys(self) -> tuple[SigningKey, ...]:
        """Every key, the oldest first."""
        self._refresh()
        return self._content.keys

    @property
    def signing(self) -> SigningKey:
        """The key that signs now."""
        self._refresh()
        return self._content.signing

    def get(self, key: str | None) -> SigningKey:
        """A key by its id; the one that signs now where None is given.

        Raises:
            NotFound: there is no such key.
        """
        if key is None:
            return self.signing
        for one in self.keys:
            if one.id == key:
                return one
        raise NotFound(f"There is no key {key[:64]!r}.", hint="courtside keys list shows the keys.")

    @property
    def pending(self) -> KeyChange | None:
        """The change that is proposed and not made yet."""
        self._refresh()
        return self._content.pending

    @property
    def unsettled(self) -> bool:
        """Whether a change is left half-made, or a file lies there that isn't needed."""
        return self.pending is not None or bool(self._strays())

    def propose_rotation(self, at: datetime) -> KeyChange:
        """Make a key that may sign from the moment on that the change is made.

        Under the database's write lock, and with nothing pending, as all that follows.
        """
        private = secrets.token_bytes(KEY_BYTES)
        change = KeyChange("rotate", _public(private), at.isoformat(), secrets.token_hex(8))
        create_once(self._file(change.key), private)
        self._write(replace(self._content, pending=change))
        return change

    def propose_revocation(self, key: str, at: datetime, why: str) -> KeyChange:
        """Have a key trusted no longer, once the change is made.

        Raises:
            NotFound: there is no such key.
            Conflict: it signs now, or is revoked already.
        """
        found = self.get(key)
        if found.state == "signing":
            raise Conflict("That key signs now.", hint="Run courtside keys rotate first, then revoke it.")
        if found.state == "revoked":
            raise Conflict(f"That key was revoked on {(found.revoked or '')[:10]}.", hint="Nothing is left to do.")
        change = KeyChange("revoke", found.public, at.isoformat(), secrets.token_hex(8), why)
        self._write(replace(self._content, pending=change))
        return change

    def settle(self, *, committed: bool) -> None:
        """Make the proposed change or drop it; remove keys that nothing signs with any more, and unfinished files."""
        if self.pending is not None:
            self._write(self._content.changed() if committed else replace(self._content, pending=None))
        for path in self._strays():
            path.unlink(missing_ok=True)
        if self._folder is not None:
            sync_folder(self._folder)

    def _strays(self) -> list[Path]:
        if self._folder is None:
            return []
        kept = {self._path_of(self._content).name}
        if self._content.pending is not None and self._content.pending.do == "rotate":
            kept.add(self._file(self._content.pending.key).name)
        drafts = [*self._folder.glob(".signing-*"), *self._folder.glob(f".{RING}.*")]
        return drafts + [path for path in self._folder.glob("signing*.key") if path.name not in kept]

    def _file(self, key: str) -> Path:
        assert self._folder is not None, "a ring in memory doesn't change"
        return self._folder / f"signing-{key}.key"

    def _path_of(self, content: _Content) -> Path:
        """Where the private key is that signs now."""
        assert self._folder is not None
        own = self._file(content.signing.id)
        return own if content.signing.since is not None else self._folder / FIRST

    def _write(self, content: _Content) -> None:
        assert self._folder is not None, "a ring in memory doesn't change"
        replace_whole(self._folder / RING, content.to_bytes())
        self._load()

    def _refresh(self) -> None:
        if self._folder is not None and self._mark_now() != self._mark:
            self._load()

    def _mark_now(self) -> Mark | None:
        assert self._folder is not None
        try:
            status = (self._folder / RING).stat()
        except FileNotFoundError:
            return None
        return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def _load(self) -> None:
        """Read ring and private key; anew where another process replaced them meanwhile."""
        assert self._folder is not None
        for _ in range(_ATTEMPTS):
            mark = self._mark_now()
            try:
                content, private = self._read(self._folder, ringed=mark is not None)
            except FileNotFoundError:
                continue
            if self._mark_now() == mark:
                self._content, self._private, self._mark = content, private, mark
                self.__dict__.pop("_signer", None)
                return
        raise BadConfiguration(
            f"The key that signs isn't in {self._folder}.", hint="Restore the keys folder from a backup."
        )

    def _read(self, folder: Path, *, ringed: bool) -> tuple[_Content, bytes]:
        if not ringed:
            if not (folder / FIRST).exists() and any(folder.glob("signing-*.key")):
                raise BadConfiguration(
                    f"{folder / RING} is missing: it says which key signs.",
                    hint="Restore the keys folder from a backup.",
                )
            private = read_or_make(folder / FIRST)
            return _Content((SigningKey(_public(private), "signing"),)), private
        refuse_readable(folder / RING)
        try:
            content = _Content.of_bytes((folder / RING).read_bytes())
        except (ValueError, KeyError, TypeError, RecursionError):  # the last: lists in lists in lists
            raise _damaged(folder / RING) from None
        path = self._path_of(content)
        refuse_readable(path)
        private = path.read_bytes()
        if len(private) != KEY_BYTES or _public(private) != content.signing.public:
            raise _damaged(path)
        return content, private

    @cached_property
    def _signer(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._private)

    def __repr__(self) -> str:
        return "SigningKeys(...)"


def is_signed_by(public: bytes, content: bytes, signature: bytes) -> bool:
    """Whether a public key's owner signed exactly these bytes."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, content)
    except (InvalidSignature, ValueError):
        return False
    return True


def read_or_make(path: Path) -> bytes:
    """The 32 bytes of a key, made where there is none; of several processes that race, all get the same.

    Raises:
        BadConfiguration: others may read it, or it's damaged.
    """
    if not path.exists():
        create_once(path, secrets.token_bytes(KEY_BYTES))
    refuse_readable(path)
    content = path.read_bytes()
    if len(content) != KEY_BYTES:
        raise _damaged(path)
    return content


def _public(private: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def _plain(value: SigningKey | KeyChange) -> dict[str, Any]:
    return {**asdict(value), "public": value.public.hex()}


def _damaged(path: Path) -> BadConfiguration:
    return BadConfiguration(f"The key {path} is damaged.", hint="Restore the keys folder from a backup.")
