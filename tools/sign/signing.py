"""A certificate for test machines, and Authenticode signatures made with it, by openssl and osslsigncode."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from tools.windows_lab.errors import LabError
from tools.windows_lab.steps import run_step

SUBJECT: Final = "KDetector test"
PACKAGES: Final = {
    "osslsigncode": "osslsigncode",
    "openssl": "openssl",
    "make": "make",
    "x86_64-w64-mingw32-g++": "g++-mingw-w64-x86-64-win32",
}
"""By the program that is needed: the Debian package that has it."""

_TO_BUILD: Final = ("make", "x86_64-w64-mingw32-g++")
_DAYS: Final = "3650"
_SECONDS: Final = 60.0


def require_programs(*, building: bool) -> str | None:
    """Return what is missing, as a sentence, or None."""
    missing = [name for name in PACKAGES if (building or name not in _TO_BUILD) and shutil.which(name) is None]
    if not missing:
        return None
    packages = " ".join(PACKAGES[name] for name in missing)
    return f"{', '.join(missing)} not found; on Debian: apt-get install {packages}"


class Identity:
    """A key in the file *key*, and beside it its certificate in DER (.cer). Both are made if there is no key.

    Raises LabError or OSError.
    """

    def __init__(self, key: Path) -> None:
        self.key = key
        self.certificate = key.with_suffix(".cer")
        if not key.exists():
            self._make()
        elif not self.certificate.exists():
            raise LabError(f"{key} is there, but not its certificate {self.certificate.name}")

    def thumbprint(self) -> str:
        """Return the SHA-1 by which Windows names the certificate, 40 hexadecimal digits."""
        return hashlib.sha1(self.certificate.read_bytes(), usedforsecurity=False).hexdigest().upper()

    def _make(self) -> None:
        self.key.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.key.with_suffix(".part")
        os.close(os.open(unfinished, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
        # What New-SelfSignedCertificate makes with -Type CodeSigningCert: a certificate that signs code, and no
        # others, so that who has the key can't pose as a server on a machine that trusts it.
        run_step(
            "openssl req",
            (
                *("openssl", "req", "-x509", "-newkey", "rsa:3072", "-sha256", "-noenc", "-days", _DAYS),
                *("-subj", f"/CN={SUBJECT}", "-keyout", str(unfinished)),
                *("-outform", "DER", "-out", str(self.certificate)),
                *("-addext", "basicConstraints=critical,CA:FALSE"),
                *("-addext", "keyUsage=critical,digitalSignature"),
                *("-addext", "extendedKeyUsage=critical,codeSigning"),
            ),
            timeout=_SECONDS,
        )
        unfinished.rename(self.key)


def sign(driver: Path, signed: Path, identity: Identity) -> None:
    """Write *driver* with a signature by *identity* to *signed*, all or nothing; a signature it has is replaced.

    Raises LabError, also where osslsigncode does not accept the signature that it made, or OSError.
    """
    with tempfile.TemporaryDirectory(dir=signed.parent) as scratch:
        certificate, unfinished = Path(scratch, "certificate.pem"), Path(scratch, signed.name)
        run_step(
            "openssl x509",
            ("openssl", "x509", "-inform", "DER", "-in", str(identity.certificate), "-out", str(certificate)),
            timeout=_SECONDS,
        )
        # Page hashes: Windows then checks each page as it is read in, also one that it reads again later.
        run_step(
            f"osslsigncode sign {driver}",
            (
                *("osslsigncode", "sign", "-h", "sha256", "-ph", "-certs", str(certificate)),
                *("-key", str(identity.key), "-in", str(driver), "-out", str(unfinished)),
            ),
            timeout=_SECONDS,
        )
        run_step(
            "osslsigncode verify",
            ("osslsigncode", "verify", "-CAfile", str(certificate), "-in", str(unfinished)),
            timeout=_SECONDS,
        )
        unfinished.replace(signed)
