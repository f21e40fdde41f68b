"""What a flow record says about whose flow it is; and that hostile text leaves here tamed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netify_agent.netifyd.flow_record import (
    MAX_SCORE,
    MAX_TEXT,
    UNDESCRIBED,
    UNKNOWN,
    Details,
    Key,
    clean,
    describe,
    device_id,
    short_text,
    timestamp,
)

MAC, OTHER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"


def flow(**fields: Any) -> dict[str, Any]:
    return {
        "local_mac": MAC,
        "local_ip": "192.168.1.10",
        "other_mac": OTHER_MAC,
        "other_ip": "203.0.113.5",
        "other_type": "remote",
        "detected_application_name": "netify.netflix",
        "detected_protocol_name": "HTTP/S",
        "first_seen_at": 1000,
        "last_seen_at": 2000,
        **fields,
    }


def test_a_flow_belongs_to_its_local_side() -> None:
    told = describe(flow(category={"application": 7, "protocol": 3}))

    assert told.key == Key(MAC, "netify.netflix", "HTTP/S")
    assert told.peer is None
    assert (told.first_seen, told.last_seen, told.category) == (1000, 2000, 7)
    assert told.addresses == ((MAC, "192.168.1.10"),)
    assert told.hints == ()


def test_the_other_side_is_a_device_only_where_it_is_local() -> None:
    assert describe(flow(other_type="local")).peer == Key(OTHER_MAC, "netify.netflix", "HTTP/S", None, True)
    assert describe(flow(other_type="local")).addresses[1] == (OTHER_MAC, "203.0.113.5")
    others: list[Any] = ["remote", "multicast", "broadcast", "unsupported", "error", None, 1, [], {}]
    for kind in others:
        assert describe(flow(other_type=kind)).peer is None


@pytest.mark.parametrize("mac", ["00:00:00:00:00:00", None, "", "no mac", 5, [], {}, "02:00:00:00:00:0g"])
def test_without_a_usable_mac_the_ip_address_is_the_device(mac: Any) -> None:
    assert describe(flow(local_mac=mac)).key.device == "192.168.1.10"
    assert describe(flow(local_mac=mac, local_ip="FE80::AB")).key.device == "fe80::ab"
    assert describe(flow(other_type="local", other_mac=mac)).peer == Key(
        "203.0.113.5", "netify.netflix", "HTTP/S", None, True
    )


@pytest.mark.parametrize("ip", ["0.0.0.0", "::", None, "", "300.1.1.1", "fe80::1%eth0", 5, [], "\ud800"])
def test_what_is_no_address_names_no_device(ip: Any) -> None:
    """0.0.0.0 is what a device has before it has an address: not the identity of one."""
    told = describe(flow(local_mac=None, local_ip=ip))

    assert told.key == Key(None, "netify.netflix", "HTTP/S")
    assert told.addresses == ()
    assert describe(flow(local_ip=ip)).addresses == ()


@pytest.mark.parametrize("mac", ["AA:BB:CC:DD:EE:0F", "aa:bb:cc:dd:ee:0f", "AA-BB-CC-DD-EE-0F"])
def test_spellings_of_a_mac_are_one_device(mac: str) -> None:
    assert device_id(mac, "192.168.1.10") == "aa:bb:cc:dd:ee:0f"


def test_a_group_written_with_hyphens_is_no_device_either() -> None:
    assert device_id("01-00-5E-00-00-FB", "192.168.1.10") is None


def test_an_ipv4_address_in_ipv6_is_that_ipv4_address() -> None:
    told = describe(flow(local_mac=None, local_ip="::FFFF:192.168.1.10", other_ip="::ffff:203.0.113.5"))

    assert told.key.device == "192.168.1.10"
    assert told.addresses == (("192.168.1.10", "192.168.1.10"),)
    assert (told.details.local_ip, told.details.other_ip) == ("192.168.1.10", "203.0.113.5")


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("10910.netify.google-chat", "netify.google-chat"),
        ("netify.google-chat", "netify.google-chat"),
        ("7.custom.app", "custom.app"),
        *(
            (name, UNKNOWN)
            for name in ("unknown", "UNKNOWN", "netify.unknown", "0.unknown", "0.netify.Unknown")
        ),
        *(  # v5
            (name, UNKNOWN) for name in ("netify.unclassified", "0.netify.unclassified", "Unclassified")
        ),
        *((name, UNKNOWN) for name in ("", " ", None, 5)),
        *((name, name) for name in ("1.1.1.1", "9gag", "netify.unknown-tv", "5.", "netify.unclassified-ads")),
    ],
)
def test_an_application_has_one_spelling(name: Any, tag: str) -> None:
    assert describe(flow(detected_application_name=name)).key.application == tag


@pytest.mark.parametrize(
    ("name", "protocol"), [("unknown", UNKNOWN), ("0.Unknown", UNKNOWN), ("802.1X", "802.1X")]
)
def test_an_unknown_protocol_has_one_spelling(name: str, protocol: str) -> None:
    assert describe(flow(detected_protocol_name=name)).key.protocol == protocol


def test_a_record_that_says_nothing_describes_an_unknown_flow_of_no_device() -> None:
    told = describe({})

    assert told.key == UNDESCRIBED
    nothing = Details(None, None, None, None, None, None, None, None, None, None, ())
    assert told == (UNDESCRIBED, None, 0, 0, 0, (), (), 0, nothing)


def test_long_addresses_are_not_kept_in_memory() -> None:
    """The caches below hold thousands of entries: each once was as long as the network made it."""
    from netify_agent.netifyd import flow_record as description

    assert short_text("x" * 64) == "x" * 64
    assert short_text("x" * 65) is None
    description._ENDS.clear()
    description.host_address.cache_clear()

    def kept(local_ip: str, other_ip: str) -> list[int]:
        describe(flow(local_mac=None, local_ip=local_ip, other_ip=other_ip, other_type="local"))
        return [len(description._ENDS), description.host_address.cache_info().currsize]

    assert kept("9" * 100_000, "8" * 100_000) == kept("7" * 100_000, "6" * 100_000)
    assert kept("9" * 64, "8" * 64) != kept("7" * 64, "6" * 64)


def test_long_names_are_cut_before_they_are_kept_in_memory() -> None:
    assert clean("x" * 100_000 + "y") is clean("x" * 100_000 + "z")


def test_flows_of_a_row_share_its_key() -> None:
    """100,000 live flows: each would hold its own tuple and its own names."""
    one, other = (describe(flow(digest=digest)).key for digest in ("a", "b"))
    assert one is other


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("plain", "plain"),
        ("  blanks ", "blanks"),
        ("", None),
        ("   ", None),
        (None, None),
        (7, None),
        (["x"], None),
        ("a\x00b\x1b[31m\n", "a\ufffdb\ufffd[31m\ufffd"),
        ("bad \udcff bytes", "bad \ufffd bytes"),
        ("right\u202eleft", "right\ufffdleft"),
        ("größe 漢字", "größe 漢字"),
        ("x" * 10_000, "x" * MAX_TEXT),
    ],
)
def test_text_from_the_network_leaves_printable_and_bounded(text: Any, kept: str | None) -> None:
    assert clean(text) == kept


@pytest.mark.parametrize("value", [None, "5", 1.5, -1, True, 1 << 42, [], {}])
def test_what_is_no_time_is_unknown(value: Any) -> None:
    assert timestamp(value) == 0


def test_a_time_is_a_time() -> None:
    assert timestamp(0) == 0
    assert timestamp(1_795_466_760_000) == 1_795_466_760_000


# -- names that devices give themselves ------------------------------------------------------------------


def test_a_dhcp_client_names_itself() -> None:
    assert describe(flow(dhcp={}, local_port=68, host_server_name="laptop")).hints == ((MAC, "laptop"),)
    assert describe(flow(dhcp={}, local_port=546, host_server_name="laptop")).hints == ((MAC, "laptop"),)


def test_the_name_is_the_clients_also_where_the_server_is_the_local_side() -> None:
    told = describe(
        flow(dhcp={}, local_port=67, other_port=68, other_type="local", host_server_name="laptop")
    )

    assert told.hints == ((OTHER_MAC, "laptop"),)


def test_a_dhcp_server_is_not_named_after_its_client() -> None:
    assert describe(flow(dhcp={}, local_port=67, other_port=67, host_server_name="laptop")).hints == ()
    assert describe(flow(dhcp={}, local_port=67, other_port=68, host_server_name="laptop")).hints == ()


@pytest.mark.parametrize("port", [None, "68", [], {}, [68]])
def test_a_port_of_any_type_is_no_crash(port: Any) -> None:
    """A list was looked up in a set once, which raises TypeError."""
    assert describe(flow(dhcp={}, local_port=port, other_port=port, host_server_name="x")).hints == ()


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("laptop.local", "laptop"),
        ("Kitchen TV._airplay._tcp.local", "Kitchen TV"),
        ("_airplay._tcp.local", None),
        (".local", None),
        ("laptop.example.com", None),
        ("", None),
        (None, None),
        (5, None),
    ],
)
def test_an_mdns_answer_names_who_sent_it(answer: Any, name: str | None) -> None:
    told = describe(flow(mdns={"answer": answer}, other_type="multicast"))

    assert told.hints == (((MAC, name),) if name else ())


def test_an_mdns_answer_to_one_device_names_nobody() -> None:
    assert describe(flow(mdns={"answer": "laptop.local"}, other_type="local")).hints == ()


@pytest.mark.parametrize("mdns", [None, "laptop.local", [], 5])
def test_mdns_of_any_type_is_no_crash(mdns: Any) -> None:
    assert describe(flow(mdns=mdns, other_type="multicast")).hints == ()


def test_a_name_of_a_device_that_is_unknown_is_nobodys() -> None:
    told = describe(flow(local_mac=None, local_ip=None, dhcp={}, local_port=68, host_server_name="laptop"))

    assert told.hints == ()


# -- what a flow is --------------------------------------------------------------------------------------


def test_what_a_flow_is_is_told_as_netifyd_says_it() -> None:
    told = describe(
        flow(
            ip_version=4,
            ip_protocol=6,
            local_port=51398,
            other_port=443,
            local_origin=True,
            host_server_name="www.example.org",
            risks={"ndpi_risk_score": 110, "ndpi_risk_score_client": 80, "risks": [35, 4, 40]},
        ),
        "br0",
    )

    assert told.risk == 110
    assert told.details == Details(
        interface="br0",
        ip_version=4,
        transport=6,
        local_ip="192.168.1.10",
        local_port=51398,
        other_ip="203.0.113.5",
        other_port=443,
        other_type="remote",
        local_origin=True,
        host="www.example.org",
        risks=(35, 4, 40),
    )


@pytest.mark.parametrize(
    ("names", "host"),
    [
        ({"host_server_name": "a", "ssl": {"client_sni": "b"}, "dns_host_name": "c"}, "a"),
        ({"host_server_name": "", "ssl": {"client_sni": "b"}, "dns_host_name": "c"}, "b"),
        ({"ssl": {"client_sni": None}, "dns_host_name": "c"}, "c"),
        ({"ssl": "b", "dns_host_name": "c"}, "c"),
        ({"host_server_name": ["a"], "ssl": ["b"], "dns_host_name": 5}, None),
        ({"host_server_name": "<script>\x00"}, "<script>\ufffd"),
        ({"host_server_name": "x" * 10_000}, "x" * MAX_TEXT),
    ],
)
def test_the_host_is_the_best_name_that_the_flow_itself_told(names: Any, host: str | None) -> None:
    assert describe(flow(**names)).details.host == host


@pytest.mark.parametrize(
    ("risks", "score", "ids"),
    [
        (None, 0, ()),
        ([35], 0, ()),
        ({}, 0, ()),
        ({"ndpi_risk_score": 0, "ndpi_risk_score_client": 0}, 0, ()),
        ({"ndpi_risk_score": 10, "risks": None}, 10, ()),
        ({"ndpi_risk_score": 10, "risks": [46]}, 10, (46,)),
        ({"ndpi_risk_score": 10, "risks": []}, 10, ()),
        ({"ndpi_risk_score": -10, "risks": [46, 46, 5, True, "7", None, {}, 0, -3, 1 << 16]}, 0, (46, 5)),
        ({"ndpi_risk_score": 1 << 40, "risks": {"46": 1}}, MAX_SCORE, ()),
        ({"ndpi_risk_score": True, "risks": list(range(1, 100))}, 0, tuple(range(1, 17))),
    ],
)
def test_risks_are_a_score_and_a_bounded_list_of_ids(risks: Any, score: int, ids: Any) -> None:
    told = describe(flow(risks=risks))

    assert (told.risk, told.details.risks) == (score, ids)


@pytest.mark.parametrize("value", [None, "6", 6.0, True, -1, 0, 1 << 16, 10**30, [6], {}])
def test_what_is_no_port_or_protocol_is_unknown(value: Any) -> None:
    told = describe(flow(ip_version=value, ip_protocol=value, local_port=value, other_port=value))

    assert told.details[1:3] == (None, None)
    assert (told.details.local_port, told.details.other_port) == (None, None)
    assert describe(flow(ip_version=6, ip_protocol=255, other_port=65535)).details[1:3] == (6, 255)


@pytest.mark.parametrize("value", [None, "", "elsewhere", 2, 1.0, [], {}, ["local"]])
def test_a_kind_of_other_side_or_an_origin_that_is_none_is_unknown(value: Any) -> None:
    told = describe(flow(other_type=value, local_origin=value), value)

    assert (told.details.other_type, told.details.local_origin) == (None, None)
    assert told.details.interface == ("elsewhere" if value == "elsewhere" else None)


@pytest.mark.parametrize(("value", "origin"), [(True, True), (False, False), (1, True), (0, False)])
def test_an_origin_is_a_boolean_or_in_v3_a_number(value: Any, origin: bool) -> None:
    assert describe(flow(local_origin=value)).details.local_origin is origin


def test_an_address_that_no_host_can_have_is_unknown() -> None:
    told = describe(flow(local_ip="0.0.0.0", other_ip="FE80::AB"))

    assert (told.details.local_ip, told.details.other_ip) == (None, "fe80::ab")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("local") | st.just(68),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


FIELDS = [
    *flow(),
    *("dhcp", "mdns", "local_port", "other_port", "category", "ip_version", "ip_protocol", "local_origin"),
    *("host_server_name", "ssl", "dns_host_name", "risks"),
]


@given(st.dictionaries(st.sampled_from(FIELDS), anything), anything)
def test_any_record_can_be_described(fields: dict[str, Any], interface: Any) -> None:
    told = describe(fields, interface)

    texts = [value for value in told.details if isinstance(value, str)]
    for text in (*told.key[:4], *(told.peer or ())[:4], *sum(told.addresses + told.hints, ()), *texts):
        assert text is None or (text.isprintable() and 0 < len(text) <= MAX_TEXT)
    assert min(told.first_seen, told.last_seen, told.category) >= 0
