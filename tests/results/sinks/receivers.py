"""Receivers that nobody here wrote: rsyslog, syslog-ng and nginx, with their default settings where not said."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.results.conftest import FULL
from tests.results.sinks.conftest import HOST, wait_for

UNPACKED = Path(__file__).resolve().parents[3] / "build" / "syslog-ng"
"""Where noxfile.py unpacks syslog-ng: its package and rsyslog's can't be installed together."""


def numbered(number, command_line=""):
    """A detection that its thread's id and its command line tell from others."""
    thread = FULL.thread._replace(tid=number)
    return replace(FULL, thread=thread, source=replace(FULL.source, command_line=command_line))


class Receiver:
    """A program that listens at *port* in the foreground; *folder* has its files."""

    environment: dict[str, str] | None = None

    def __init__(self, folder, port, protocol, certificate):
        self.port = port
        self.url = f"syslog+{protocol}://{HOST}:{port}"
        self._folder = folder
        self._process = None
        self._read = 0
        self._messages = []
        self._configuration = self.configuration(protocol, certificate)

    def start(self):
        (self._folder / "conf").write_text(self._configuration)
        self._process = subprocess.Popen(
            self.command(), env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self._listens)

    def _listens(self):
        assert self._process.poll() is None, f"{self.command()[0]} did not start"
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), timeout=5):
            return True
        return False

    def end(self, number=signal.SIGKILL):
        self._process.send_signal(number)
        self._process.wait()
        for path in self._folder.iterdir():
            if path.is_socket():  # of a killed program: the next one could not listen
                path.unlink()

    def send_signal(self, number):
        self._process.send_signal(number)

    def received(self):
        """The messages so far, each a dictionary: host, sent (its structured data), and message."""
        file = self._folder / "received"
        if not file.exists():
            return self._messages
        with file.open("rb") as lines:
            lines.seek(self._read)
            *whole, _ = lines.read().split(b"\n")  # the last one is being written
        self._read += sum(len(line) + 1 for line in whole)
        self._messages += [self.message(json.loads(line)) for line in whole]
        return self._messages


class Rsyslog(Receiver):
    """rsyslog: all but TLS and the structured data's parser as it comes."""

    def __init__(self, folder, port, protocol, certificate):
        if shutil.which("rsyslogd") is None:
            pytest.skip("rsyslog is not installed")
        if protocol == "tls" and not list(Path("/usr/lib").glob("*/rsyslog/lmnsd_ossl.so")):
            pytest.skip("rsyslog-openssl is not installed")
        super().__init__(folder, port, protocol, certificate)

    def configuration(self, protocol, certificate):
        driver = 'StreamDriver.name="ossl" StreamDriver.mode="1" StreamDriver.authMode="anon"'
        tls = f"""
            defaultNetstreamDriverCAFile="{certificate}"
            defaultNetstreamDriverCertFile="{certificate}"
            defaultNetstreamDriverKeyFile="{certificate}"
        """
        return f"""
            global(workDirectory="{self._folder}" {tls if protocol == "tls" else ""})
            module(load="imtcp" {driver if protocol == "tls" else ""})
            module(load="imudp")
            module(load="mmpstrucdata")
            input(type="imtcp" port="{self.port}" address="{HOST}")
            input(type="imudp" port="{self.port}" address="{HOST}")
            template(name="received" type="list") {{
              property(name="jsonmesg")
              constant(value="\\n")
            }}
            action(type="mmpstrucdata")
            action(type="omfile" file="{self._folder}/received" template="received")
        """

    def command(self):
        return ["rsyslogd", "-n", "-f", str(self._folder / "conf"), "-i", str(self._folder / "pid")]

    def message(self, line):
        return {
            "host": line["hostname"],
            "sent": line["$!"]["rfc5424-sd"].get("etwdetect@32473", {}),
            "message": line["msg"],
        }


class SyslogNg(Receiver):
    """syslog-ng: all but TLS as it comes, and the host of the message kept instead of the sender's."""

    def __init__(self, folder, port, protocol, certificate):
        if shutil.which("syslog-ng"):
            self._command = ["syslog-ng"]
        elif (UNPACKED / "usr" / "sbin" / "syslog-ng").exists():
            libraries = sorted({str(path.parent) for path in UNPACKED.rglob("*.so*")})
            self.environment = os.environ | {"LD_LIBRARY_PATH": ":".join(libraries)}
            modules = next(UNPACKED.glob("usr/lib/syslog-ng/*/libsyslogformat.so")).parent
            self._command = [str(UNPACKED / "usr" / "sbin" / "syslog-ng"), f"--module-path={modules}"]
        else:
            pytest.skip("syslog-ng is neither installed nor unpacked (noxfile.py does that)")
        super().__init__(folder, port, protocol, certificate)

    def configuration(self, protocol, certificate):
        tls = f'tls(key-file("{certificate}") cert-file("{certificate}") peer-verify(optional-untrusted))'
        transport = f'transport("{protocol}") port({self.port}) {tls if protocol == "tls" else ""}'
        wanted = "--scope none --key .SDATA.etwdetect@32473.* --replace-prefix .SDATA.etwdetect@32473.=sent."
        return f"""@version: 3.35
            options {{ keep-hostname(yes); }};
            source s {{ syslog(ip("{HOST}") {transport}); }};
            source up {{ syslog(ip("{HOST}") transport("tcp") port({self.port})); }};
            destination d {{
              file("{self._folder}/received" template("$(format-json host=$HOST message=$MSG {wanted})\\n"));
            }};
            log {{ source(s); {"source(up);" if protocol == "udp" else ""} destination(d); }};
        """

    def command(self):
        files = [f"--{name}={self._folder / name}" for name in ("persist-file", "pidfile", "control")]
        return [*self._command, "--foreground", "--no-caps", f"--cfgfile={self._folder / 'conf'}", *files]

    def message(self, line):
        return {"host": line["host"], "sent": line.get("sent", {}), "message": line["message"]}


RECEIVERS = {"rsyslog": Rsyslog, "syslog-ng": SyslogNg}


class Nginx(Receiver):
    """nginx, which keeps the body of each POST that it answers with 200, over HTTP or HTTPS.

    It takes bodies of *most* bytes, by default 1 MiB.
    """

    def __init__(self, folder, port, protocol, certificate, most=None):
        if shutil.which("nginx") is None:
            pytest.skip("nginx is not installed")
        self._most = most
        super().__init__(folder, port, protocol, certificate)
        self.url = f"{protocol}://{HOST}:{port}/etwdetect"

    def configuration(self, protocol, certificate):
        secure = (
            f"ssl_certificate {certificate}; ssl_certificate_key {certificate};" if protocol == "https" else ""
        )
        return f"""
            daemon off; pid {self._folder}/pid; {"user root;" * (os.getuid() == 0)}
            events {{}}
            http {{
              access_log off;
              client_body_temp_path {self._folder}/bodies; proxy_temp_path {self._folder}/proxy;
              fastcgi_temp_path {self._folder}/fastcgi; uwsgi_temp_path {self._folder}/uwsgi;
              scgi_temp_path {self._folder}/scgi;
              server {{ listen unix:{self._folder}/answers; return 200; }}
              server {{
                listen {HOST}:{self.port} {"ssl" * bool(secure)}; {secure}
                {f"client_max_body_size {self._most};" if self._most else ""}
                location / {{ client_body_in_file_only on; proxy_pass http://unix:{self._folder}/answers; }}
              }}
            }}
        """

    def command(self):
        return ["nginx", "-c", str(self._folder / "conf"), "-e", str(self._folder / "errors")]

    def end(self, number=signal.SIGKILL):
        """End it with its workers, which outlive a killed master."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        super().end(number)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), number)

    def received(self):
        """The records of all bodies so far that are whole."""
        bodies = sorted((self._folder / "bodies").glob("*"))
        return [
            json.loads(line) for body in bodies for line in body.read_bytes().split(b"\n") if line.endswith(b"}")
        ]
