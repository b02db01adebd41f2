import dataclasses
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from sfumato.errors import AccessRefused
from sfumato.transport.key_files import load_client_keys, load_cloud_keys, make_keys
from sfumato.transport.keys import KeyRing, throw_away_keys


def test_layout_and_modes(tmp_path: Path) -> None:
    make_keys(tmp_path / "deep" / "keys", clouds=2)
    root = tmp_path / "deep" / "keys"
    files = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
    clouds = [f"cloud-{i}/{name}" for i in (1, 2) for name in ("ca.pem", "cloud.key", "cloud.pem", "token")]
    client = ["ca.pem", "client.key", "client.pem", "cloud-1.token", "cloud-2.token"]
    assert files == sorted(["ca/ca.key", "ca/ca.pem", *(f"client/{name}" for name in client), *clouds])
    assert {p.stat().st_mode & 0o777 for p in root.rglob("*") if p.is_file()} == {0o600}
    assert {p.stat().st_mode & 0o777 for p in (root, *root.rglob("*")) if p.is_dir()} == {0o700}
    assert list(root.parent.iterdir()) == [root]


def test_what_is_made_can_be_loaded(tmp_path: Path) -> None:
    make_keys(tmp_path, clouds=2, hosts=["10.0.0.1", "example.org"], days=3)
    client = load_client_keys(tmp_path, clouds=2)
    assert client == load_client_keys(tmp_path / "client", clouds=2)
    clouds = [load_cloud_keys(tmp_path / f"cloud-{i}") for i in (1, 2)]
    assert [c.name for c in clouds] == ["cloud-1", "cloud-2"]
    assert tuple(c.token for c in clouds) == client.tokens
    assert clouds[0].token != clouds[1].token


def test_certificates_say_who_may_do_what() -> None:
    ring = throw_away_keys(2, hosts=["10.0.0.1", "example.org"])
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    for pem, names, purposes in (
        (ring.client.certificate, ["client.sfumato"], [ExtendedKeyUsageOID.CLIENT_AUTH]),
        (ring.clouds[0].certificate, ["cloud-1.sfumato"], both),
        (ring.clouds[1].certificate, ["cloud-2.sfumato", "example.org"], both),
    ):
        certificate = x509.load_pem_x509_certificate(pem)
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert san.get_values_for_type(x509.DNSName) == names
        assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == purposes
        assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        public_key = certificate.public_key()
        assert isinstance(public_key, ec.EllipticCurvePublicKey)
        assert public_key.curve.name == "secp256r1"


def secrets_of(ring: KeyRing) -> list[str]:
    keys = [ring.authority_key, ring.client.key, *(c.key for c in ring.clouds)]
    return [*ring.client.tokens, *(line for key in keys for line in key.decode().splitlines()[1:-1])]


def test_no_repr_shows_a_secret() -> None:
    ring = throw_away_keys(2)
    shown = repr(ring) + repr(ring.client) + str(ring.clouds)
    assert "cloud-1" in shown
    assert not any(secret in shown for secret in secrets_of(ring))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys", clouds=1)
    before = {p: p.read_bytes() for p in (tmp_path / "keys").rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match="never overwritten"):
        make_keys(tmp_path / "keys", clouds=1)
    assert {p: p.read_bytes() for p in (tmp_path / "keys").rglob("*") if p.is_file()} == before


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, content: bytes) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("sfumato.transport.key_files._write_private", fail)
    with pytest.raises(OSError, match="disk full"):
        make_keys(tmp_path / "keys", clouds=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"num_clouds": 0}, "at least 1"),
        ({"num_clouds": 1, "days": 0}, "days must be"),
        ({"num_clouds": 2, "hosts": ["a"]}, "1 hosts for 2 clouds"),
    ],
)
def test_wrong_arguments(settings: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        throw_away_keys(**settings)  # type: ignore[arg-type]


def spoil(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)


@pytest.mark.parametrize("party", ["client", "cloud"])
def test_each_damage_is_one_clear_sentence(tmp_path: Path, party: str) -> None:
    make_keys(tmp_path / "keys", clouds=1)
    make_keys(tmp_path / "other", clouds=1)
    name = {"client": "client", "cloud": "cloud-1"}[party]
    folder, other = tmp_path / "keys" / name, tmp_path / "other" / name
    token = {"client": "cloud-1.token", "cloud": "token"}[party]

    def load() -> object:
        return load_client_keys(folder, clouds=1) if party == "client" else load_cloud_keys(folder)

    for file, content, match in (
        (f"{party}.pem", b"nonsense", "cannot be read: copy"),
        ("ca.pem", (other / "ca.pem").read_bytes(), "is not signed by the ca.pem"),
        (f"{party}.key", (other / f"{party}.key").read_bytes(), "does not belong to the key"),
        (token, b"\xff", "holds no access token"),
    ):
        good = (folder / file).read_bytes()
        (folder / file).write_bytes(content)
        with pytest.raises(AccessRefused, match=match):
            load()
        (folder / file).unlink()
        with pytest.raises(AccessRefused, match="No such file"):
            load()
        (folder / file).write_bytes(good)
    load()


def test_keys_of_another_party_are_refused(tmp_path: Path) -> None:
    make_keys(tmp_path, clouds=1)
    for file in ("pem", "key"):
        content = (tmp_path / "cloud-1" / f"cloud.{file}").read_bytes()
        mine = (tmp_path / "client" / f"client.{file}").read_bytes()
        (tmp_path / "client" / f"client.{file}").write_bytes(content)
        (tmp_path / "cloud-1" / f"cloud.{file}").write_bytes(mine)
    with pytest.raises(AccessRefused, match=r"is for cloud-1\.sfumato, not for a client"):
        load_client_keys(tmp_path, clouds=1)
    with pytest.raises(AccessRefused, match=r"is for client\.sfumato, not for a cloud"):
        load_cloud_keys(tmp_path / "cloud-1")


def test_expired_keys_are_refused(tmp_path: Path) -> None:
    make_keys(tmp_path, clouds=1, days=1e-6)
    time.sleep(1.1)
    with pytest.raises(AccessRefused, match="expired on"):
        load_client_keys(tmp_path, clouds=1)
    with pytest.raises(AccessRefused, match="expired on"):
        load_cloud_keys(tmp_path / "cloud-1")


def test_keys_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        throw_away_keys(1).client.tokens = ()  # type: ignore[misc]
