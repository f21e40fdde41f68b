"""What to configure in netifyd, for ``netify-agent check``; docs/netifyd.md has the same lines.

The file names are the usual ones of the vendor's plugins. Their loaders in ``plugins.d`` name them.
"""

from __future__ import annotations

PROC_CORE = """\
{
  "format": "json",
  "compressor": "none",
  "sinks": {
    "sink-socket": {
      "flows": {"enable": true, "types": ["stream-flows", "stream-stats"]}
    }
  }
}
"""
SINK_SOCKET = """\
{
  "channels": {
    "flows": {"enable": true, "bind_address": "unix:///var/run/netifyd/flows.sock"}
  }
}
"""
LOADERS = """\
[proc-core]
enable = yes
plugin_library = ${path_plugin_libdir}/libnetify-proc-core.so.0.0.0
conf_filename = ${path_state_persistent}/netify-proc-core.json

[sink-socket]
enable = yes
plugin_library = ${path_plugin_libdir}/libnetify-sink-socket.so.0.0.0
conf_filename = ${path_state_persistent}/netify-sink-socket.json
"""
PROC_CORE_HTTP = PROC_CORE.replace("sink-socket", "sink-http")
SINK_HTTP = """\
{
  "channels": {
    "flows": {"enable": true, "url": "http://127.0.0.1:7001/flows", "headers": {}}
  }
}
"""


def to_stream_to_a_socket() -> str:
    """The lines that make netifyd v5 stream to a Unix socket, with the files that they belong into."""
    return _files(
        "netifyd v4 streams as installed. v5 streams with these lines, after a restart (docs/netifyd.md):",
        ("/etc/netifyd/plugins.d/*.conf", LOADERS),
        ("/etc/netifyd/netify-proc-core.json", PROC_CORE),
        ("/etc/netifyd/netify-sink-socket.json", SINK_SOCKET),
    )


def to_post(url: str) -> str:
    """The lines that make netifyd v5 POST to ``url``, where the agent listens."""
    loaders = LOADERS.replace("sink-socket", "sink-http")
    return _files(
        "netifyd v5 POSTs its records there with these lines, after a restart (docs/netifyd.md):",
        ("/etc/netifyd/plugins.d/*.conf", loaders),
        ("/etc/netifyd/netify-proc-core.json", PROC_CORE_HTTP),
        ("/etc/netifyd/netify-sink-http.json", SINK_HTTP.replace("http://127.0.0.1:7001/flows", url)),
    )


def _files(heading: str, *files: tuple[str, str]) -> str:
    lines = [heading]
    for path, text in files:
        lines += ["", f"  {path}:", *(f"    {line}".rstrip() for line in text.splitlines())]
    return "\n".join(lines)
