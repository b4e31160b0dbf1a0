"""The master keys: what seals provider credentials and signs the gateway's own device tokens."""

import base64
import binascii
import os
from pathlib import Path

from gateway.config import ConfigError, Settings

KEY_BYTES = 32
FILE_NAME = "master.key"


def load_master_keys(settings: Settings) -> list[bytes]:
    """The master keys, the current one first; made at the first start if nothing else is set.

    To rotate, put a new key before the old one, seal the credentials anew, take the old one away.

    Raises:
        ConfigError: the file is missing or not private, or a key is not 32 bytes in base64.
    """
    if settings.master_key:
        return [_decode(text, "master_key") for text in settings.master_key]
    if settings.master_key_file:
        return _read(Path(settings.master_key_file))
    path = settings.data_dir / FILE_NAME
    if not path.exists():
        _make(path)
    return _read(path)


def _make(path: Path) -> None:
    """Write a new key; if another process was faster, its key stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # atomic, and fails if the file is there
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _read(path: Path) -> list[bytes]:
    try:
        lines = path.read_text("ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"master_key_file {path} cannot be read: {error}.") from None
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"master_key_file {path} can be read by others. Run: chmod 600 {path}")
    if not lines:
        raise ConfigError(f"master_key_file {path} is empty. Write 32 bytes in base64 into it.")
    return [_decode(line, f"master_key_file {path}") for line in lines]


def _decode(text: str, origin: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"{origin}: a key must be {KEY_BYTES} bytes in base64. Make one with: "
            "head -c 32 /dev/urandom | base64"
        )
    return key
