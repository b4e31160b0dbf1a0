"""The sandbox's own certificate authority and server certificate.

Written once into the data directory and used again by later starts, so that a credential that
trusts ``sandbox-ca.pem`` stays good over restarts.
"""

import datetime as dt
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = dt.timedelta(days=365)
RENEW_BEFORE = dt.timedelta(days=30)
NAMES: tuple[x509.GeneralName, ...] = (
    x509.DNSName("localhost"),
    x509.DNSName("sandbox"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
)


class Certificates(NamedTuple):
    """Where the PEM files are: trust ``ca``; the server shows ``certificate`` and uses ``key``."""

    ca: Path
    certificate: Path
    key: Path


def ensure_certificates(data_dir: Path) -> Certificates:
    """Return certificates in ``data_dir`` that are good for a month at least; make them if needed.

    Raises:
        OSError: the directory cannot be written.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    files = Certificates(
        data_dir / "sandbox-ca.pem", data_dir / "sandbox-cert.pem", data_dir / "sandbox-key.pem"
    )
    if not _is_usable(files):
        _write(files)
    return files


def _is_usable(files: Certificates) -> bool:
    if not all(path.is_file() for path in files):
        return False
    try:
        leaf = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    except ValueError:
        return False
    return leaf.not_valid_after_utc - dt.datetime.now(dt.UTC) > RENEW_BEFORE


def _write(files: Certificates) -> None:
    authority_key = ec.generate_private_key(ec.SECP256R1())
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_key)
    leaf = _leaf(authority, authority_key, leaf_key)
    pem = serialization.Encoding.PEM
    files.key.touch(mode=0o600)
    files.key.write_bytes(
        leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    files.ca.write_bytes(authority.public_bytes(pem))
    files.certificate.write_bytes(leaf.public_bytes(pem) + authority.public_bytes(pem))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + LIFETIME)
    )


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _name("Provider sandbox CA")
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        _builder(name, name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder(_name("Provider sandbox"), authority.subject)
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName(NAMES), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
