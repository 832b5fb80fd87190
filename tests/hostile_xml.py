"""XML bodies that are meant to hurt: by entities, depth, width, size, encodings, numbers; and documents changed at random."""

import random
from typing import Final

from tests.unit.collector_builders import object_event
from tests.unit.xml_builders import event_element, xml_document

EVENT: Final = event_element(object_event())
WHOLE: Final = xml_document(EVENT)
_NESTED: Final = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 30))
_PIECES: Final = [
    b"<", b">", b"</a>", b"<a>", b"&e;", b"&#0;", b"&#xD800;", b"&lt;", b"<![CDATA[", b"]]>", b"<!--", b"-->", b"<?x ?>", b"<!DOCTYPE a>",
    b" a='1' a='2'", b" xmlns:a='urn:a'", b"\xff", b"\x00", b"'", b'"', b"=", b"\xe2\x82", b"9" * 400, b"1e999",
]  # fmt: skip


def _event(inner: str) -> bytes:
    return xml_document(EVENT.replace("</ObjectEvent>", f"{inner}</ObjectEvent>"))


def _quantity(text: str) -> bytes:
    listed = f"<quantityElement><epcClass>urn:epc:class:lgtin:4012345.012345.1</epcClass><quantity>{text}</quantity></quantityElement>"
    return _event(f"<extension><quantityList>{listed}</quantityList></extension>")


HOSTILE_XML: Final[dict[str, bytes]] = {
    "a billion laughs": f'<!DOCTYPE a [<!ENTITY e0 "lol">{_NESTED}]><a>&e29;</a>'.encode(),
    "quadratic entities": f'<!DOCTYPE a [<!ENTITY e "{"x" * 100_000}">]><a>{"&e;" * 1_000}</a>'.encode(),
    "entity of a file": b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>',
    "entity of a server": b'<!DOCTYPE a [<!ENTITY % e SYSTEM "http://127.0.0.1:1/">%e;]><a/>',
    "DTD elsewhere": b'<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd"><a/>',
    "DTD after the root": WHOLE + b"<!DOCTYPE a>",
    "DTD behind comments": b"<!-- -->" * 50_000 + b"<!DOCTYPE a><a/>",
    "undefined entity": _event("<x>&e;</x>"),
    "deep": xml_document(EVENT, head="<a>" * 1_000_000),
    "deep event": _event("<a>" * 100_000 + "</a>" * 100_000),
    "deep and open": b"<a>" * 2_000_000,
    "wide": _event("<a/>" * 100_000),
    "events of nothing": xml_document(*["<ObjectEvent/>"] * 9_999),
    "too many events": xml_document(*["<ObjectEvent/>"] * 100_001),
    "many names": xml_document(EVENT, head="".join(f"<a{n}/>" for n in range(200_000))),
    "many prefixes": xml_document(EVENT, head="<a" + "".join(f" xmlns:p{n}='urn:{n}'" for n in range(20_000)) + "/>"),
    "many attributes": _event("<x:a xmlns:x='urn:x'" + "".join(f" a{n}='1'" for n in range(50_000)) + "/>"),
    "duplicate attributes": _event("<a b='1' b='2'/>"),
    "duplicate attributes by namespace": _event("<a xmlns:p='urn:p' xmlns:q='urn:p' p:b='1' q:b='2'/>"),
    "duplicate element": _event("<action>ADD</action>"),
    "text of 10 MB": _event(f"<x>{'a' * 10_000_000}</x>"),
    "attribute of 10 MB": _event(f"<x a='{'a' * 10_000_000}'/>"),
    "name of 1 MB": _event(f"<{'a' * 1_000_000}/>"),
    "comment of 10 MB": xml_document(EVENT, head=f"<!--{'- ' * 5_000_000}-->"),
    "comment that never ends": b"<!--" + b"- " * 1_000_000,
    "instruction that never ends": b"<?x " + b"?" * 1_000_000,
    "tag that never ends": b"<" + b" a='1'" * 500_000,
    "CDATA that never ends": _event("<x><![CDATA[" + "]" * 1_000_000),
    "signatures without end": xml_document(EVENT, head="<s:signatures xmlns:s='urn:goodstrace:signatures'>" + "<s:signature/>" * 20_000 + "</s:signatures>"),
    "huge quantity": _quantity("9" * 100_000),
    "huge exponent": _quantity("1e999999999"),
    "tiny exponent": _quantity("1e-999999999"),
    "long fraction": _quantity("0." + "1" * 500_000),
    "not a number": _quantity("NaN"),
    "infinity": _quantity("INF"),
    "bad UTF-8": WHOLE.replace(b"OBSERVE", b"\xff\xfe"),
    "overlong UTF-8": WHOLE.replace(b"OBSERVE", b"\xc0\xaf"),
    "surrogate in UTF-8": WHOLE.replace(b"OBSERVE", b"\xed\xa0\x80"),
    "surrogate as a reference": WHOLE.replace(b"OBSERVE", b"&#xD800;"),
    "NUL": WHOLE.replace(b"OBSERVE", b"\x00"),
    "NUL as a reference": WHOLE.replace(b"OBSERVE", b"&#0;"),
    "UTF-16": WHOLE.decode().encode("utf-16"),
    "UTF-7 is said": b'<?xml version="1.0" encoding="UTF-7"?>' + WHOLE[WHOLE.index(b"<", 5) :],
    "XInclude": _event('<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd" parse="text"/>'),
    "schema elsewhere": _event('<x xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="urn:x http://127.0.0.1:1/"/>'),
    "stylesheet": b'<?xml-stylesheet href="http://127.0.0.1:1/"?>' + WHOLE[WHOLE.index(b"<", 5) :],
    "text beside elements": _event("x"),
    "white space": b"<a>" + b" " * 10_000_000 + b"</a>",
    "half": WHOLE[: len(WHOLE) // 2],
    "twice": WHOLE + WHOLE,
}  # fmt: skip


def mutated_xml(draw: random.Random) -> bytes:
    """A sound document with one to four accidents."""
    data = bytearray(WHOLE)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data))
        match draw.randrange(4):
            case 0:
                data[at] = draw.randrange(256)
            case 1:
                del data[at : at + draw.randint(1, 30)]
            case 2:
                data[at:at] = draw.choice(_PIECES)
            case _:
                data[at:at] = data[at : at + draw.randint(1, 60)]
    return bytes(data)
