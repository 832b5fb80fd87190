"""The limit beside `make bench-query`: a look-up with the same parts and none of our work.

A gRPC server of the same library answers `Trace` with the bytes of one answer of the real service, after one find of two documents (the heads of the
logs) and one record of a look's size that Kafka has acknowledged, by the service's own client of each. It reads no key, walks nothing, proves nothing and
seals nothing: what it can answer no service of these parts can exceed.

READ_THEN_RECORD is the order that a look must keep, since its record says how much is shown. AT_ONCE asks both neighbours at the same time.
"""

import argparse
import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import uvloop
from pymongo import MongoClient

from deploy.processes import HOST
from deploy.stack import Stack
from goodstrace.query.v1 import trace_pb2
from services.runtime import kafka
from services.runtime.acknowledged import AcknowledgedProducer
from services.runtime.grpc import Context
from services.runtime.mongo import Mongo, find_all
from services.runtime.settings import MongoSettings, load
from services.runtime.topics import Topic

READ_THEN_RECORD, AT_ONCE = "read-then-record", "at-once"
ORDERS: Final = (READ_THEN_RECORD, AT_ONCE)
RECORD_BYTES: Final = 1_500
HEAD_BYTES: Final = 300
SERVICE: Final = "goodstrace.query.v1.TraceService"
_TOPIC: Final = "bench.bare-look"
_DATABASE: Final = "bench-bare-look"
_HEADS: Final = ("goods/0", "goods/1")
_TIMEOUT_S: Final = 10


@contextmanager
def bare_server(stack: Stack, folder: Path, answer: bytes, order: str) -> Iterator[str]:
    """Serve on a port of 127.0.0.1; gives host:port, and ends the server.

    Args:
        stack: whose Kafka and store are asked.
        folder: for the answer's file.
        answer: a serialised `TraceResponse`.
        order: one of ORDERS.
    """
    kafka.create_topics(stack.kafka_bootstrap_servers, [Topic(_TOPIC, 1, 1)])
    client: MongoClient[dict[str, Any]] = MongoClient(stack.mongodb_uri)
    heads = client[_DATABASE]["heads"]
    for name in _HEADS:
        heads.replace_one({"_id": name}, {"_id": name, "note": "x" * HEAD_BYTES}, upsert=True)
    client.close()
    path = folder / "answer"
    path.write_bytes(answer)
    command = [sys.executable, "-m", "bench.bare_look", stack.kafka_bootstrap_servers, str(path), order]
    store = {"MONGODB_URI": stack.mongodb_uri, "GOODSTRACE_DATABASE": _DATABASE}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **store})
    try:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        if not port:
            raise SystemExit("the bare server did not start")
        yield f"{HOST}:{port}"
    finally:
        server.terminate()
        server.wait()


async def serve(bootstrap: str, answer: bytes, order: str) -> None:
    """Answer until the process is ended; prints the port."""
    producer = AcknowledgedProducer(bootstrap)
    mongo = Mongo(load(MongoSettings))
    shown = trace_pb2.TraceResponse.FromString(answer)

    async def read() -> None:
        await find_all(mongo.database, "heads", {"_id": {"$in": list(_HEADS)}})

    async def record() -> None:
        await producer.send(_TOPIC, 0, b"", bytes(RECORD_BYTES), _TIMEOUT_S)

    async def trace(_request: trace_pb2.TraceRequest, _context: Context) -> trace_pb2.TraceResponse:
        if order == AT_ONCE:
            await asyncio.gather(read(), record())
        else:
            await read()
            await record()
        return shown

    method = grpc.unary_unary_rpc_method_handler(
        trace,
        request_deserializer=trace_pb2.TraceRequest.FromString,
        response_serializer=trace_pb2.TraceResponse.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Trace": method}),))
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


def main() -> None:
    """Serve as the command line says; started by `bare_server`."""
    parser = argparse.ArgumentParser(prog="python -m bench.bare_look", description=__doc__)
    parser.add_argument("bootstrap")
    parser.add_argument("answer", type=Path)
    parser.add_argument("order", choices=ORDERS)
    given = parser.parse_args()
    uvloop.run(serve(given.bootstrap, given.answer.read_bytes(), given.order))


if __name__ == "__main__":
    main()
