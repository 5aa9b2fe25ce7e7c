"""docker-compose.yml, as far as it can be checked without an engine."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

TEXT = (Path(__file__).parent.parent / "docker-compose.yml").read_text("utf-8")


@pytest.mark.skipif(not shutil.which("docker"), reason="no docker command to parse docker-compose.yml with")
def test_docker_understands_it():
    """All but what `docker stack`, older than Compose, does not know: profiles, and configurations with content."""
    text = TEXT.replace("    profiles: [attu]\n", "")
    text = re.sub(r"content: \|\n( {6}.*\n)+", "file: /dev/null\n", text)
    command = ["docker", "stack", "config", "--compose-file", "-"]
    path = {"PATH": os.environ["PATH"]}
    environment = {**path, "MILVUS_PASSWORD": "a long one"}
    done = subprocess.run(command, input=text, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("image: ") == done.stdout.count("memory: ") == 2
    assert done.stdout.count("target: /milvus/configs/") == done.stdout.count("file: /dev/null") == 2
    assert 'COMMON_SECURITY_AUTHORIZATIONENABLED: "true"' in done.stdout
    assert "COMMON_SECURITY_DEFAULTROOTPASSWORD: a long one" in done.stdout
    assert subprocess.run(command, input=text, env=path, capture_output=True, text=True).returncode != 0


def test_nothing_is_open_to_the_network():
    ports = re.findall(r"^ +ports: \[(.*)\]$", TEXT, re.MULTILINE)
    assert len(ports) == TEXT.count("ports:") == 2
    assert all(re.fullmatch(r'"127\.0\.0\.1:\d+:\d+"', port) for port in ports)
    assert re.findall(r"listen-client-urls: (.*)", TEXT) == ["http://127.0.0.1:2379"]


def test_there_is_no_default_password():
    assert re.findall(r"^ +\w*(?:PASSWORD|SECRET)\w*: (.*)$", TEXT, re.MULTILINE) == [
        '"${MILVUS_PASSWORD:?choose a password}"'
    ]


def test_images_are_pinned():
    images = re.findall(r"image: (\S+)", TEXT)
    assert len(images) == 2
    assert all(re.search(r":v\d+\.\d+\.\d+$", image) for image in images)
