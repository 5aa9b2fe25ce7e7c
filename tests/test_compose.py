"""docker-compose.yml, as far as it can be checked without an engine."""

import os
import re
import shutil
import subprocess

import pytest
from conftest import PROJECT

TEXT = (PROJECT / "docker-compose.yml").read_text("utf-8")


@pytest.mark.skipif(not shutil.which("docker"), reason="no docker command to parse docker-compose.yml with")
def test_docker_understands_it():
    text = TEXT.replace("profiles: [attu]", "")  # All that `docker stack` does not know.
    assert text != TEXT
    command = ["docker", "stack", "config", "--compose-file", "-"]
    path = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        command, input=text, env=path | {"MILVUS_PASSWORD": "a long one"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("image: ") == done.stdout.count("memory: ") == 4
    assert 'COMMON_SECURITY_AUTHORIZATIONENABLED: "true"' in done.stdout
    assert "COMMON_SECURITY_DEFAULTROOTPASSWORD: a long one" in done.stdout
    assert subprocess.run(command, input=text, env=path, capture_output=True, text=True).returncode != 0


def test_ports_are_open_to_this_machine_only():
    ports = re.findall(r"^ +ports: \[(.*)\]$", TEXT, re.MULTILINE)
    assert len(ports) == TEXT.count("ports:") == 2
    assert all(re.fullmatch(r'"127\.0\.0\.1:\d+:\d+"', port) for port in ports)


def test_there_is_no_default_password():
    passwords = re.findall(r"^ +\w*(?:PASSWORD|SECRET)\w*: (.*)$", TEXT, re.MULTILINE)
    assert len(passwords) == 3
    assert all(password.startswith('"${MILVUS_PASSWORD:?') for password in passwords)


def test_images_are_pinned():
    images = re.findall(r"image: (\S+)", TEXT)
    assert len(images) == 4
    assert all(re.search(r":(v\d+\.\d+\.\d+|RELEASE\.[\dTZ-]+)$", image) for image in images)
