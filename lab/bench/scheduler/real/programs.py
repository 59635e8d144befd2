# SPDX-License-Identifier: Apache-2.0
"""Network programs as the distribution ships them, unpacked and never installed: an image, and a root to run in.

Enters: the distribution's packages. Leaves: an Image of the programs with the libraries that they load, and a
folder in the cache from which a host outside the cluster runs their other ends. No service of this machine starts.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

from lab.images import base
from lab.kernelvm import cache, packages
from lab.kernelvm.kernels import SUITE
from lab.kernelvm.progress import run
from lab.nodes.real.images import Image
from lab.nodes.real.layout import File, write

NAME: Final = f"docker.io/library/network-programs:{SUITE}"
PACKAGES: Final = ("iperf3", "nginx-light", "redis-server", "redis-tools", "wrk")
PROGRAMS: Final = ("usr/bin/iperf3", "usr/bin/redis-server", "usr/sbin/nginx")
"""Those that pods run. The others are clients."""
_LOADER: Final = "/lib64/ld-linux-x86-64.so.2"
_PAGE: Final = "usr/share/nginx/html/index.html"
_ACCOUNTS: Final = "root:x:0:0:root:/:/bin/false\n"
_GROUPS: Final = "root:x:0:\n"
_NGINX: Final = """daemon off;
user root;
pid /tmp/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    keepalive_requests 1000000;
    server {
        listen 8080;
        root /usr/share/nginx/html;
    }
}
"""
_PACE: Final = """function delay() return 20 end
"""
NGINX_CONFIG: Final = "/etc/nginx/lab.conf"
PACE_SCRIPT: Final = "/etc/wrk/pace.lua"
"""Has wrk wait 20 ms before each request. Unpaced, one keep-alive connection would itself be an elephant."""


def root() -> Path:
    """The unpacked packages. Made when the cache lacks them, in a quarter of a minute. Raises LabError."""
    sources = packages.sources() + "\n"
    key = {"sources": sources, "packages": PACKAGES, "texts": [_NGINX, _PACE, _ACCOUNTS, _GROUPS]}

    def build(place: Path) -> None:
        base.prune("network-programs", place)
        listed = place / "sources.list"
        listed.write_text(sources)
        run(_unpack(listed, place / "root"), "unpacking network programs", remedy=base.REMEDY, area=base.AREA)
        _complete(place / "root")

    return cache.built("network-programs", key, build, area=base.AREA) / "root"


def image() -> Image:
    """The image that pods run, ready to be pushed as ``NAME``. Raises LabError."""
    unpacked = root()

    def build(place: Path) -> None:
        base.prune("small-network-programs", place)
        write(place / "oci", files(unpacked), {"Env": ["PATH=/usr/bin:/usr/sbin"]})

    return Image(
        NAME, cache.built("small-network-programs", {"root": str(unpacked)}, build, area=base.AREA) / "oci"
    )


def files(unpacked: Path) -> list[File]:
    """The programs, what they load, and what they read."""
    wanted = {name for program in PROGRAMS for name in (program, *libraries(unpacked, program))}
    found = [File(name, (unpacked / name).resolve()) for name in sorted(wanted)]
    texts = [name.lstrip("/") for name in (NGINX_CONFIG, "/etc/passwd", "/etc/group", _PAGE)]
    found += [File(name, unpacked / name, mode=0o644) for name in texts]
    return [*found, File("tmp/.keep", mode=0o644)]


def libraries(unpacked: Path, program: str) -> list[str]:
    """Paths within ``unpacked`` that the loader maps for ``program``, itself included."""
    argv = ["chroot", str(unpacked), _LOADER, "--list", f"/{program}"]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return [path.lstrip("/") for path in re.findall(r"(/\S+) \(0x", listed)]


def outside(*argv: str) -> list[str]:
    """The command that runs one of the programs on a host outside the cluster. Raises LabError."""
    return ["chroot", str(root()), *argv]


def _unpack(sources: Path, target: Path) -> list[str]:
    return [
        "mmdebstrap", "--variant=extract", "--mode=root", "--skip=output/dev",
        f"--include={','.join(PACKAGES)}", SUITE, str(target), str(sources),
    ]  # fmt: skip


def _complete(place: Path) -> None:
    for folder in ("tmp", "etc/wrk"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    texts = {NGINX_CONFIG: _NGINX, PACE_SCRIPT: _PACE, "/etc/passwd": _ACCOUNTS, "/etc/group": _GROUPS}
    for name, text in texts.items():
        (place / name.lstrip("/")).write_text(text)
