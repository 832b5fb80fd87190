// Traces goods by gRPC, believes nothing that is not proved, and prints them level by level. See docs/clients.md.
import { createHash, createPublicKey, verify as isSigned } from "node:crypto";
import { readFileSync } from "node:fs";
import { credentials, Metadata } from "@grpc/grpc-js";
import { Checkpoint, SealedEntry } from "./pb/goodstrace/log/v1/log.js";
import { Direction, TraceRequest, TraceResponse, TraceServiceClient } from "./pb/goodstrace/query/v1/trace.js";

type Key = { name: string; id: Buffer; key: Buffer };
type Tree = { size: bigint; root: Buffer };

const sha256 = (...pieces: Uint8Array[]) => createHash("sha256").update(Buffer.concat(pieces)).digest();
const byte = (value: number) => Buffer.of(value);

function check(holds: boolean, why: string): asserts holds {
  if (!holds) throw new Error(why);
}

// A vkey is <name>+<key ID in hex>+<base64 of the type, 1, and the key>; the key ID is checked too. Source: C2SP signed-note.
function readKey(vkey: string): Key {
  const [name, id, data] = [vkey.split("+")[0], vkey.split("+")[1], vkey.split("+").slice(2).join("+")];
  const typed = Buffer.from(data, "base64");
  const made = sha256(Buffer.from(`${name}\n`), typed).subarray(0, 4);
  check(typed.length === 33 && typed[0] === 1 && made.toString("hex") === id, `not a vkey: ${vkey}`);
  return { name, id: made, key: typed.subarray(1) };
}

// A checkpoint is a note: text, empty line, signature lines. It must be signed by a trusted key that is named after the log.
function open(checkpoint: Checkpoint, keys: Key[]): Tree {
  const end = checkpoint.note.lastIndexOf("\n\n");
  const text = checkpoint.note.slice(0, end + 1);
  const [origin, size, root, ...more] = text.split("\n");
  const signatures = checkpoint.note.slice(end + 2).split("\n").map((line) => line.split(" "));
  const signed = keys.some((key) => key.name === origin && signatures.some(([dash, name, data]) => {
    const signature = Buffer.from(data ?? "", "base64");
    const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), key.key]);
    return dash === "—" && name === key.name && signature.subarray(0, 4).equals(key.id) && isSigned(
      null, Buffer.from(text), createPublicKey({ key: spki, format: "der", type: "spki" }), signature.subarray(4));
  }));
  check(signed && origin.endsWith(`/${checkpoint.log}`), `no trusted key has signed the checkpoint of ${checkpoint.log}`);
  check(/^[0-9]+$/.test(size) && more.join() === "", `not a checkpoint of ${checkpoint.log}`);
  return { size: BigInt(size), root: Buffer.from(root, "base64") };
}

// Source: RFC 9162 section 2.1.3.2.
function verifyInclusion(sealed: SealedEntry, under: Tree): void {
  let [node, last] = [sealed.index, under.size - 1n];
  let hash = sha256(byte(0), sealed.entry);
  check(node <= last, "there is no such index");
  for (const sibling of sealed.inclusionProof) {
    check(last > 0n && sibling.length === 32, "the inclusion proof is too long");
    if (node % 2n === 1n || node === last) {
      hash = sha256(byte(1), sibling, hash);
      while (node % 2n === 0n && node !== 0n) [node, last] = [node / 2n, last / 2n];
    } else {
      hash = sha256(byte(1), hash, sibling);
    }
    [node, last] = [node / 2n, last / 2n];
  }
  check(last === 0n && hash.equals(under.root), "the inclusion proof does not lead to the root");
}

// Checks that an event's entry is in its log, and that the parts shown are those it commits to. Gives a line to print.
function verify(sealed: SealedEntry, under: Tree | undefined, identity: string): string {
  check(under !== undefined, "no checkpoint of its log");
  verifyInclusion(sealed, under);
  const entry = JSON.parse(Buffer.from(sealed.entry).toString());
  check(entry.kind === "event", `an entry of kind ${entry.kind} is no event`);
  const commits = new Map<string, string>(entry.parts.map((part: any) => [part.name, part.commit]));
  let line = "an event withheld";
  for (const part of sealed.parts) {
    const head = Buffer.concat([byte(2), byte(part.name.length), Buffer.from(part.name)]);
    const commit = sha256(head, part.salt, part.content).toString("hex");
    check(part.salt.length === 32 && commits.get(part.name) === commit, `${part.name} is not what the entry commits to`);
    commits.delete(part.name); // so that a part is not shown twice
    if (part.name === "facts") {
      const facts = JSON.parse(Buffer.from(part.content).toString());
      const names = [entry.merchant, facts.event_id, facts.event_hash, facts.correction?.digest ?? ""];
      check(sha256(Buffer.from(JSON.stringify(names))).toString("hex") === identity, `not the event ${identity}`);
      const time = `${new Date(Math.floor(facts.time_us / 1e6) * 1000).toISOString().slice(0, 19)}Z`;
      line = [time, facts.type, facts.action, facts.step, facts.event_id].filter(Boolean).join(" ");
    }
  }
  return line;
}

// Verifies a whole answer and gives it as lines, level by level.
function show(answer: TraceResponse, keys: Key[]): string[] {
  const trees = new Map<string, Tree>();
  for (const each of answer.checkpoints) {
    check(!trees.has(each.log), `two checkpoints of ${each.log}`);
    trees.set(each.log, open(each, keys));
  }
  const events = new Map<string, string>();
  for (const event of answer.events) {
    for (const sealed of [...event.alsoAt, event.sealed]) {
      check(sealed !== undefined, "an event without its entry");
      const line = verify(sealed, trees.get(sealed.log), event.identity);
      events.set(event.identity, `${line} at ${sealed.log}[${sealed.index}]`);
    }
  }
  check(events.size === answer.events.length && events.size === answer.totalEvents, "an event is missing or shown twice");
  const lines = [answer.key];
  for (const node of answer.nodes) {
    const way = Direction[node.direction].replace("DIRECTION_", "").toLowerCase();
    lines.push(`level ${node.level} ${way} ${node.role} ${node.grade} ${node.key}`);
    for (const link of node.links) {
      for (const identity of link.identities) {
        check(events.has(identity), `a link of ${node.key} rests on an event that is not shown`);
        lines.push(`  ${link.kind} of ${link.key} by ${events.get(identity)}`);
      }
    }
    const history = answer.events.filter((event) => event.mentions.some((mention) => mention.key === node.key));
    lines.push(...history.map((event) => `  ${events.get(event.identity)}`));
  }
  return [...lines, ...answer.checkpoints.map(({ log }) => `proved under ${log} of ${trees.get(log)?.size} entries`)];
}

// Asks for a trace page by page; all pages are of the same checkpoints.
async function trace(target: string, key: string): Promise<TraceResponse> {
  const client = new TraceServiceClient(target, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set("goodstrace-user", "example-typescript");
  const { GOODSTRACE_API_KEY: shown } = process.env;
  if (shown) metadata.set("authorization", `Bearer ${shown}`);
  const whole = TraceResponse.decode(new Uint8Array());
  do {
    const request = TraceRequest.decode(new Uint8Array());
    Object.assign(request, { key, purpose: "an example", pageToken: whole.nextPageToken });
    const page = await new Promise<TraceResponse>((done, failed) =>
      client.trace(request, metadata, { deadline: Date.now() + 30_000 }, (error, answer) => (error ? failed(error) : done(answer))));
    Object.assign(whole, page, { nodes: [...whole.nodes, ...page.nodes], events: [...whole.events, ...page.events] });
  } while (whole.nextPageToken !== "");
  client.close();
  return whole;
}

// node client.js VKEYS HOST:PORT KEY, or VKEYS ANSWER; VKEYS is a file of trusted keys, ANSWER one of a TraceResponse.
const [vkeys, place, key] = process.argv.slice(2);
try {
  const trusted = readFileSync(vkeys, "utf8").split("\n").filter(Boolean).map(readKey);
  const answer = key ? await trace(place, key) : TraceResponse.decode(readFileSync(place));
  console.log(show(answer, trusted).join("\n"));
} catch (error) {
  console.error(`refused: ${(error as Error).message}`);
  process.exitCode = 1;
}
