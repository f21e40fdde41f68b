"""docs/netifyd.md and `netify-agent check` advise the same lines, and netifyd's schemas accept them."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path

import jsonschema
import pytest

from netify_agent.config.settings import Settings, parse
from netify_agent.netifyd import advice

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT.parent / "shared" / "netifyd-v5"
DOC = (ROOT / "docs" / "netifyd.md").read_text()
# Each JSON file of the page is named in the text before it.
SNIPPETS = re.findall(
    r"`/etc/netifyd/(netify-[a-z-]+)\.json`[^`]*(?:`[^`]+`[^`]*)*?```json\n(.*?)```", DOC, re.S
)


def test_the_page_has_each_file_and_the_command_prints_the_same() -> None:
    files = dict(SNIPPETS)
    assert files == {
        "netify-proc-core": advice.PROC_CORE,
        "netify-sink-socket": advice.SINK_SOCKET,
        "netify-sink-http": advice.SINK_HTTP,
    }
    assert advice.LOADERS in DOC


@pytest.mark.skipif(not SCHEMAS.is_dir(), reason="the vendor's schemas are not part of the project")
@pytest.mark.parametrize(("name", "text"), [*SNIPPETS, ("netify-proc-core", advice.PROC_CORE_HTTP)])
def test_netifyd_s_schemas_accept_each_file(name: str, text: str) -> None:
    # The pattern of the schema's url has no place for a port, which the plugin's own documents use.
    document = json.loads(text.replace("127.0.0.1:7001", "127.0.0.1"))
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    jsonschema.validators.validator_for(schema)(schema).validate(document)


@pytest.mark.parametrize(
    ("sink", "processor", "sinks"),
    [
        ("sink-socket", advice.PROC_CORE, advice.SINK_SOCKET),
        ("sink-http", advice.PROC_CORE_HTTP, advice.SINK_HTTP),
    ],
)
def test_loader_processor_and_sink_name_each_other(sink: str, processor: str, sinks: str) -> None:
    loaders = configparser.ConfigParser(interpolation=None)
    loaders.read_string(advice.LOADERS.replace("sink-socket", sink))
    assert loaders.sections() == ["proc-core", sink]
    [(named, channels)] = json.loads(processor)["sinks"].items()
    assert named == sink
    assert channels.keys() == json.loads(sinks)["channels"].keys()
    assert loaders[sink]["conf_filename"].endswith(f"/netify-{sink}.json")


def test_the_agent_s_default_finds_the_advised_socket_and_takes_the_advised_url() -> None:
    advised = json.loads(advice.SINK_SOCKET)["channels"]["flows"]["bind_address"]
    assert advised in map(str, Settings().netifyd.fallbacks)
    url = json.loads(advice.SINK_HTTP)["channels"]["flows"]["url"]
    [yaml] = re.findall(r"```yaml\n(.*?)```", DOC, re.S)
    assert [str(endpoint) for endpoint in parse(yaml, "f").netifyd.endpoints] == [url]
