"""Certificates for the cases: a CA in a directory, and what it signs, by the openssl program."""
import os
import subprocess


def openssl(*args, stdin=None):
    done = subprocess.run(["openssl", *args], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, f"openssl {' '.join(args)}: {done.stderr.decode()}"
    return done.stdout


class Ca:
    def __init__(self, folder, name="ca"):
        self.folder, self.name = folder, name
        self.pem, self.key = self.path("pem"), self.path("key")
        os.makedirs(folder, exist_ok=True)
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes", "-keyout", self.key, "-out", self.pem, "-days", "3650",
                "-subj", f"/CN=test {name}")

    def path(self, kind):
        return os.path.join(self.folder, f"{self.name}.{kind}")

    def sign(self, name, san="DNS:localhost,IP:127.0.0.1", days="30", to=None):
        """(certificate, key) of name; days may be negative: it has expired. `to` names the
        files, `name` the subject."""
        base = os.path.join(self.folder, to or name)
        pem, key, request, extra = (f"{base}.{kind}" for kind in ("pem", "key", "csr", "ext"))
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        with open(extra, "w", encoding="utf-8") as f:
            f.write(f"[x]\nsubjectAltName={san}\n[ca]\ndefault_ca=c\n[c]\n"
                    f"database={base}.db\nnew_certs_dir={self.folder}\nserial={base}.srl\n"
                    "default_md=sha256\npolicy=p\nrand_serial=yes\n[p]\ncommonName=supplied\n")
        open(f"{base}.db", "w", encoding="utf-8").close()
        if int(days) > 0:
            dates = ["-days", days]
        else:
            dates = ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"]
        openssl("ca", "-batch", "-config", extra, "-extensions", "x", "-cert", self.pem,
                "-keyfile", self.key, "-in", request, "-out", pem, "-notext", *dates)
        return pem, key
