"""`python -m tools.sign`: the signature by another program, and by the structure of the file."""

import hashlib
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).parents[2] / "driver"

DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
"""DigestInfo of SHA-256 in DER, in front of its 32 bytes."""
PAGE_HASHES = bytes.fromhex("060a2b060104018237020302")
"""SPC_PE_IMAGE_PAGE_HASHES_V2, 1.3.6.1.4.1.311.2.3.2."""
INDIRECT_DATA = bytes.fromhex("060a2b060104018237020104")
"""SPC_INDIRECT_DATA_OBJID, 1.3.6.1.4.1.311.2.1.4."""


def sign(*arguments):
    command = [sys.executable, "-m", "tools.sign", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    for program in ("osslsigncode", "openssl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    return tmp_path_factory.mktemp("sign")


@pytest.fixture(scope="module")
def signed(folder, sys_file):
    done = sign(sys_file, "--out", folder / "out", "--key", folder / "key.pem")
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "out" / "KDetector.sys"


def certificate_in_pem(folder):
    path = folder / "certificate.pem"
    certificate = folder / "out" / "KDetectorTest.cer"
    subprocess.run(["openssl", "x509", "-inform", "DER", "-in", certificate, "-out", path], check=True)
    return path


def verify(folder, image):
    command = ["osslsigncode", "verify", "-CAfile", certificate_in_pem(folder), "-in", image]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Parts:
    """A PE32+ file: what the signature is of, and the signature."""

    def __init__(self, path):
        data = bytearray(path.read_bytes())
        header = int.from_bytes(data[60:64], "little") + 24
        assert data[header : header + 2] == b"\x0b\x02"
        self.checksum, security = header + 64, header + 112 + 4 * 8
        place, size = (int.from_bytes(data[at : at + 4], "little") for at in (security, security + 4))
        end = place or len(data)
        self.table = bytes(data[end : end + size])
        self.behind = len(data) - end - size
        self.hashed = bytes(data[: self.checksum] + data[self.checksum + 4 : security] + data[security + 8 : end])


def test_another_program_accepts_it(folder, signed):
    done = verify(folder, signed)
    assert done.returncode == 0, done.stdout
    assert "Signature verification: ok" in done.stdout


@pytest.mark.parametrize("at", [0x200, -1])
def test_a_changed_byte_is_noticed(folder, signed, tmp_path, at):
    data = bytearray(signed.read_bytes()[: -len(Parts(signed).table)])
    data[at] ^= 1
    changed = tmp_path / "changed.sys"
    changed.write_bytes(data + Parts(signed).table)
    assert verify(folder, changed).returncode != 0


def test_the_file_has_one_signature_as_windows_looks_for_it(signed):
    parts = Parts(signed)
    length, revision, kind = (int.from_bytes(parts.table[a:b], "little") for a, b in ((0, 4), (4, 6), (6, 8)))
    assert (revision, kind) == (0x0200, 2)  # WIN_CERT_REVISION_2_0, WIN_CERT_TYPE_PKCS_SIGNED_DATA
    # One entry, padded to 8 bytes, at a multiple of 8, and nothing behind it.
    assert len(parts.table) == (length + 7) // 8 * 8
    assert (len(signed.read_bytes()) - len(parts.table)) % 8 == 0
    assert parts.behind == 0
    assert INDIRECT_DATA in parts.table
    assert PAGE_HASHES in parts.table


def test_what_is_signed_is_the_file_without_checksum_and_signature(signed):
    parts = Parts(signed)
    digest = parts.table.partition(DIGEST_INFO)[2][:32]
    assert digest == hashlib.sha256(parts.hashed).digest()


def test_the_certificate_of_the_signature_is_the_one_beside_it(signed):
    assert (signed.parent / "KDetectorTest.cer").read_bytes() in Parts(signed).table


def test_the_checksum_is_right_after_signing(signed):
    pefile = pytest.importorskip("pefile")
    with pefile.PE(signed) as image:
        assert image.OPTIONAL_HEADER.CheckSum
        assert image.verify_checksum()


def test_two_builds_differ_in_the_signature_alone(folder, signed, tmp_path):
    driver = signed.parents[1] / "driver-sources"
    shutil.copytree(DRIVER, driver)
    subprocess.run(
        ["make", "-s", "-C", driver, f"BUILD={tmp_path}", "sys"], check=True, capture_output=True, timeout=300
    )
    other_key = folder / "other-key.pem"
    done = sign(tmp_path / "KDetector.sys", "--out", tmp_path / "out", "--key", other_key)
    assert done.returncode == 0, done.stderr
    first, second = Parts(signed), Parts(tmp_path / "out" / "KDetector.sys")
    assert first.hashed == second.hashed
    assert first.table != second.table


def test_the_key_is_used_again_and_a_signature_replaced(folder, signed):
    before = (folder / "key.pem").read_bytes(), (folder / "key.cer").read_bytes()
    done = sign(signed, "--out", folder / "again", "--key", folder / "key.pem")
    assert done.returncode == 0, done.stderr
    assert ((folder / "key.pem").read_bytes(), (folder / "key.cer").read_bytes()) == before
    once, again = Parts(signed), Parts(folder / "again" / "KDetector.sys")
    assert again.hashed == once.hashed
    assert len(again.table) == len(once.table)
    assert verify(folder, folder / "again" / "KDetector.sys").returncode == 0


def test_nobody_else_can_read_the_key(folder, signed):  # noqa: ARG001 (makes the key)
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600


def test_the_certificate_is_for_code_and_signs_no_others(folder, signed):  # noqa: ARG001 (makes it)
    command = ["openssl", "x509", "-in", certificate_in_pem(folder), "-noout", "-text"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "CA:FALSE" in text
    assert "Code Signing" in text
    assert "Subject: CN = KDetector test" in text or "Subject: CN=KDetector test" in text


@pytest.mark.parametrize(
    "content", [b"", b"no program at all", b"MZ" + bytes(58) + b"\xff\xff\xff\x7f" + bytes(400)]
)
def test_what_is_no_program_is_refused_and_nothing_is_written(folder, signed, tmp_path, content):  # noqa: ARG001 (makes the key)
    image = tmp_path / "no.sys"
    image.write_bytes(content)
    done = sign(image, "--out", tmp_path / "out", "--key", folder / "key.pem")
    assert done.returncode == 1
    assert done.stderr.startswith(f"not signed: osslsigncode sign {image}: ")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_key_without_its_certificate_is_refused(folder, sys_file, tmp_path):  # noqa: ARG001 (skips without openssl)
    (tmp_path / "key.pem").write_text("a key")
    done = sign(sys_file, "--out", tmp_path / "out", "--key", tmp_path / "key.pem")
    assert done.returncode == 1
    assert "not its certificate key.cer" in done.stderr


def test_what_is_missing_is_said_with_its_package(sys_file, tmp_path):
    command = [sys.executable, "-m", "tools.sign", sys_file, "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": str(tmp_path)})
    assert done.returncode == 5
    assert (
        done.stderr
        == "not signed: osslsigncode, openssl not found; on Debian: apt-get install osslsigncode openssl\n"
    )
