// Verifies what Goodstrace shows, with nothing but trusted keys: in a browser and in Node 20 or later, without any package.
//
// Hashes and signatures are WebCrypto's (SHA-256, Ed25519), so every function that needs one is asynchronous. Bytes are Uint8Array, sizes and
// indexes BigInt, keys and notes text. Whatever does not hold is thrown as a VerificationError and nothing else is, whatever the input.
// docs/clients.md says each step in words; tests/vectors are what this module is held to, as the Python client is.

const HASH_BYTES = 32;
const SALT_BYTES = 32;
const KEY_ID_BYTES = 4;
const MAX_SIZE = 2n ** 63n - 1n;
const MAX_NOTE_BYTES = 256 * 1024;
const MAX_SIGNATURES = 100;
const MAX_NAME_BYTES = 1024;
const MAX_ENTRY_BYTES = 1023;
const MAX_PARTS = 4;
const MAX_EXTRA_BYTES = 64 * 1024;
const MAX_PROOF_BYTES = MAX_NOTE_BYTES + 2 * MAX_EXTRA_BYTES;
const MAX_HASHES = 63;
const PROOF_HEADER = "c2sp.org/tlog-proof@v1";
const LOG_KEY = 0x01;
const WITNESS_KEY = 0x04;

const KINDS = new Set(["event", "registration", "browse", "finding", "erasure", "checkpoint", "index"]);

export class VerificationError extends Error {
  constructor(message) {
    super(message);
    this.name = "VerificationError";
  }
}

function check(holds, why) {
  if (!holds) throw new VerificationError(why);
}

// ---- bytes and text

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function toUtf8(text) {
  const encoded = encoder.encode(text);
  // A lone surrogate would be encoded as another character.
  check(decoder.decode(encoded) === text, "the text has a lone surrogate");
  return encoded;
}

function fromUtf8(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new VerificationError("not UTF-8");
  }
}

export function concat(...pieces) {
  const whole = new Uint8Array(pieces.reduce((size, piece) => size + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

export function isSame(one, other) {
  return one.length === other.length && one.every((byte, place) => byte === other[place]);
}

export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function fromHex(text) {
  check(/^([0-9a-f]{2})*$/.test(text), "not lower-case hex");
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

export function toBase64(bytes) {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

export function fromBase64(text) {
  let bytes;
  try {
    bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    throw new VerificationError("the base64 is malformed");
  }
  check(toBase64(bytes) === text, "the base64 is not in canonical form");
  return bytes;
}

async function sha256(...pieces) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", concat(...pieces)));
}

// ---- Merkle trees. Source: RFC 6962 section 2.1, RFC 9162 sections 2.1.3.2 and 2.1.4.2.

/** Hashes the exact bytes of an entry as a leaf. */
export function leafHash(entry) {
  return sha256(Uint8Array.of(0), entry);
}

function nodeHash(left, right) {
  return sha256(Uint8Array.of(1), left, right);
}

/** The root over leaf hashes, in order. */
export async function rootOf(leaves) {
  if (leaves.length === 0) return sha256();
  let row = leaves;
  while (row.length > 1) {
    const above = [];
    for (let at = 0; at + 1 < row.length; at += 2) above.push(await nodeHash(row[at], row[at + 1]));
    if (row.length % 2) above.push(row[row.length - 1]); // has no sibling yet and moves up as it is
    row = above;
  }
  return row[0];
}

function leftSize(size) {
  let left = 1n;
  while (left * 2n < size) left *= 2n;
  return left;
}

/** The subtrees, as [start, end) from the leaf's sibling up, whose hashes prove the leaf at `index` in a tree of `size` leaves. */
function inclusionPath(index, size) {
  check(index >= 0n && index < size && size <= MAX_SIZE, `there is no leaf ${index} in a tree of size ${size}`);
  const path = [];
  let [start, end] = [0n, size];
  while (end - start > 1n) {
    const middle = start + leftSize(end - start);
    path.push(index < middle ? [middle, end] : [start, middle]);
    [start, end] = index < middle ? [start, middle] : [middle, end];
  }
  return path.reverse();
}

function checkHashes(proof, length, ...others) {
  check(proof.length === length, `the proof has ${proof.length} hashes, not ${length}`);
  check([...proof, ...others].every((hash) => hash.length === HASH_BYTES), "a hash is not 32 bytes");
}

/** Checks that the leaf with this hash is at `index` in the tree of `size` leaves with this root. */
export async function verifyInclusion(leaf, index, size, proof, root) {
  const path = inclusionPath(index, size);
  checkHashes(proof, path.length, leaf, root);
  let hash = leaf;
  for (const [place, [, end]] of path.entries()) {
    hash = end <= index ? await nodeHash(proof[place], hash) : await nodeHash(hash, proof[place]);
  }
  check(isSame(hash, root), `leaf ${index} is not in the tree of size ${size} with that root`);
}

function consistencyPath(oldSize, newSize) {
  check(oldSize >= 0n && oldSize <= newSize && newSize <= MAX_SIZE, `a tree of size ${newSize} has no earlier one of size ${oldSize}`);
  const path = [];
  if (oldSize === 0n) return path;
  let [start, end] = [0n, newSize];
  while (end !== oldSize) {
    const middle = start + leftSize(end - start);
    path.push(oldSize <= middle ? [middle, end] : [start, middle]);
    [start, end] = oldSize <= middle ? [start, middle] : [middle, end];
  }
  if (start > 0n) path.push([start, end]);
  return path.reverse();
}

/** Checks that the new tree begins with the whole old one: nothing was changed, moved or taken away. */
export async function verifyConsistency(oldSize, oldRoot, newSize, newRoot, proof) {
  const path = consistencyPath(oldSize, newSize);
  checkHashes(proof, path.length, oldRoot, newRoot);
  const empty = await sha256();
  check(oldSize > 0n || isSame(oldRoot, empty), "the root of an empty tree is not the empty root");
  check(newSize > 0n || isSame(newRoot, empty), "the root of an empty tree is not the empty root");
  if (oldSize === 0n) return;
  // Where the old tree is one complete subtree the proof begins from its root, else from the proof's first hash.
  const isSeeded = path.length === 0 || path[0][0] >= oldSize;
  let [older, newer] = isSeeded ? [oldRoot, oldRoot] : [proof[0], proof[0]];
  for (let place = isSeeded ? 0 : 1; place < path.length; place += 1) {
    if (path[place][1] <= oldSize) {
      [older, newer] = [await nodeHash(proof[place], older), await nodeHash(proof[place], newer)];
    } else {
      newer = await nodeHash(newer, proof[place]);
    }
  }
  check(isSame(older, oldRoot) && isSame(newer, newRoot), `the tree of size ${newSize} does not begin with the tree of size ${oldSize}`);
}

// ---- Signed notes, checkpoints, cosignatures. Source: C2SP signed-note, tlog-checkpoint, tlog-cosignature.

function checkName(name) {
  const isSound = name !== "" && !/[+\s\p{Cc}]/u.test(name) && toUtf8(name).length <= MAX_NAME_BYTES;
  check(isSound, "a key name is empty, too long, or has a space, a control character or a plus");
}

/** Reads a verifier key: `<name>+<key ID in hex>+<base64 of type and public key>`. Gives {name, id, type, key}. */
export async function readKey(vkey) {
  const [name, id] = vkey.split("+", 2);
  const typed = fromBase64(vkey.slice(name.length + 1 + (id ?? "").length + 1));
  checkName(name);
  check(typed.length === 1 + HASH_BYTES && [LOG_KEY, WITNESS_KEY].includes(typed[0]), `not a key of a kind that is known: ${name}`);
  const made = (await sha256(toUtf8(`${name}\n`), typed)).subarray(0, KEY_ID_BYTES);
  check(toHex(made) === id, `the key ID of ${name} is not its own`);
  return { name, id: made, type: typed[0], key: typed.subarray(1) };
}

/** Takes a note apart without believing it: {text, signatures: [{name, id, signature}]}. */
export function parseNote(note) {
  check(toUtf8(note).length <= MAX_NOTE_BYTES, `the note is over ${MAX_NOTE_BYTES} bytes`);
  // biome-ignore lint: control characters are what is looked for
  check(!/[\u0000-\u0009\u000b-\u001f]/.test(note), "the note has a control character");
  const split = note.lastIndexOf("\n\n"); // the last empty line: the text may have others
  const lines = note.slice(split + 2).split("\n");
  check(split >= 0 && lines.length >= 2 && lines.pop() === "", "the note does not end with an empty line and signature lines");
  check(lines.length <= MAX_SIGNATURES, `the note has over ${MAX_SIGNATURES} signatures`);
  return { text: note.slice(0, split + 1), signatures: lines.map(parseSignature) };
}

function parseSignature(line) {
  const [dash, name, encoded, ...more] = line.split(" ");
  check(dash === "—" && encoded !== undefined && more.length === 0, "a signature line is malformed");
  checkName(name);
  const content = fromBase64(encoded);
  check(content.length > KEY_ID_BYTES, "a signature line has no signature");
  return { name, id: content.subarray(0, KEY_ID_BYTES), signature: content.subarray(KEY_ID_BYTES) };
}

async function hasSigned(key, signature, message) {
  if (signature.length !== 64) return false;
  try {
    const imported = await crypto.subtle.importKey("raw", key.key, { name: "Ed25519" }, false, ["verify"]);
    return await crypto.subtle.verify({ name: "Ed25519" }, imported, signature, message);
  } catch {
    return false; // no point of the curve
  }
}

async function isValid(key, signature, text) {
  if (key.type === LOG_KEY) return hasSigned(key, signature, toUtf8(text));
  if (signature.length !== 8 + 64) return false;
  const time = timeOf(signature);
  return time <= MAX_SIZE && hasSigned(key, signature.subarray(8), toUtf8(`cosignature/v1\ntime ${time}\n${text}`));
}

function timeOf(signature) {
  return new DataView(signature.buffer, signature.byteOffset, 8).getBigUint64(0);
}

/**
 * Verifies a note by keys that are trusted (of `readKey`): signatures of others are passed over, a wrong one of a trusted key refuses all.
 * Gives {text, signed: [{key, signature}]}, at least one.
 */
export async function openNote(note, keys) {
  const parsed = parseNote(note);
  const signed = [];
  for (const each of parsed.signatures) {
    const key = keys.find((known) => known.name === each.name && isSame(known.id, each.id));
    if (key === undefined) continue;
    check(await isValid(key, each.signature, parsed.text), `the signature of ${each.name} is wrong`);
    if (!signed.some((other) => other.key === key)) signed.push({ key, signature: each.signature });
  }
  check(signed.length > 0, "no known key has signed the note");
  return { text: parsed.text, signed };
}

/** Reads the text of a note as a checkpoint of three lines: {origin, size, root}. */
export async function parseCheckpoint(text) {
  const lines = text.split("\n");
  check(lines.length === 4 && lines[3] === "" && lines[0] !== "", "a checkpoint here has exactly three lines");
  check(/^(0|[1-9][0-9]{0,18})$/.test(lines[1]), "the size is not a decimal number");
  const [size, root] = [BigInt(lines[1]), fromBase64(lines[2])];
  check(size <= MAX_SIZE && root.length === HASH_BYTES, "the size or the root is out of its limits");
  check(size > 0n || isSame(root, await sha256()), "the root of an empty tree is not the empty root");
  return { origin: lines[0], size, root };
}

/**
 * Verifies a checkpoint: signed by a trusted key that is named after its origin. Cosignatures by trusted witness keys are verified too.
 * Gives {origin, size, root, cosigned}; `cosigned` is a Map from a witness's name to the time it claims, Unix seconds.
 */
export async function openCheckpoint(note, keys) {
  const opened = await openNote(note, keys);
  const checkpoint = await parseCheckpoint(opened.text);
  const isOwn = ({ key }) => key.type === LOG_KEY && key.name === checkpoint.origin;
  check(opened.signed.some(isOwn), "the checkpoint is not signed by a trusted key named after its origin");
  const cosigned = opened.signed.filter(({ key }) => key.type === WITNESS_KEY);
  return { ...checkpoint, cosigned: new Map(cosigned.map(({ key, signature }) => [key.name, timeOf(signature)])) };
}

// ---- Entries and parts: docs/decisions/0001-sealed-formats.md

function isCount(value) {
  return Number.isSafeInteger(value) && value >= 0;
}

function isHash(value) {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}

/** Reads the exact bytes of an entry, and refuses whatever is not in its one form. */
export function readEntry(bytes) {
  check(bytes.length <= MAX_ENTRY_BYTES, `an entry is at most ${MAX_ENTRY_BYTES} bytes`);
  let entry;
  const text = fromUtf8(bytes);
  try {
    entry = JSON.parse(text);
  } catch {
    throw new VerificationError("not an entry: no JSON");
  }
  check(typeof entry === "object" && entry !== null && isSoundEntry(entry), "an entry has a field out of its limits");
  check(JSON.stringify(inOrder(entry)) === text, "the entry is not in its canonical form");
  return entry;
}

function isSoundEntry(entry) {
  const { id, kind, merchant, parts, tags, time, v } = entry;
  const names = Array.isArray(parts) ? parts.map((part) => part?.name) : [];
  return (
    v === 1 && typeof id === "string" && /^[0-9a-f]{32}$/.test(id) && KINDS.has(kind) && isCount(merchant) && isCount(time) &&
    typeof tags === "object" && tags !== null && isCount(tags.n) && isHash(tags.root) &&
    Array.isArray(parts) && parts.length <= MAX_PARTS && new Set(names).size === names.length && parts.every(isSoundPart)
  );
}

function isSoundPart(part) {
  return typeof part?.name === "string" && /^[a-z0-9-]{1,32}$/.test(part.name) && isHash(part.commit) && isCount(part.size);
}

/** The members of an entry, and no others, in the order of RFC 8785. */
function inOrder({ id, kind, merchant, parts, tags, time, v }) {
  const ordered = parts.map(({ commit, name, size }) => ({ commit, name, size }));
  return { id, kind, merchant, parts: ordered, tags: { n: tags.n, root: tags.root }, time, v };
}

/** Commits to a part: what an entry says of it, as hex. */
export async function commitment(name, salt, content) {
  check(/^[a-z0-9-]{1,32}$/.test(name) && salt.length === SALT_BYTES, "a part's name or salt is out of its limits");
  return toHex(await sha256(Uint8Array.of(2, name.length), encoder.encode(name), salt, content));
}

/** Checks that a part that is shown is what the entry commits to. */
export async function verifyPart(entry, { name, salt, content }) {
  const promised = entry.parts.find((part) => part.name === name);
  const isPromised = promised?.size === content.length && promised.commit === (await commitment(name, salt, content));
  check(isPromised, `part ${name} is not what entry ${entry.id} commits to`);
}

/**
 * Checks an entry with its proof and the parts shown, under an opened checkpoint of its log.
 * `sealed` is {entry, index, proof, parts: [{name, salt, content}]}. Gives the entry; parts of it that are not shown are withheld or erased.
 */
export async function verifySealed(sealed, checkpoint) {
  await verifyInclusion(await leafHash(sealed.entry), sealed.index, checkpoint.size, sealed.proof, checkpoint.root);
  const entry = readEntry(sealed.entry);
  check(new Set(sealed.parts.map((part) => part.name)).size === sealed.parts.length, "a part is shown twice");
  for (const part of sealed.parts) await verifyPart(entry, part);
  return entry;
}

/** Checks that an entry is tagged with a tag (16 bytes): that it is found under a name. */
export async function verifyTag(entry, tag, index, path) {
  check(tag.length === 16, "a tag has 16 bytes");
  await verifyInclusion(await leafHash(tag), index, BigInt(entry.tags.n), path, fromHex(entry.tags.root));
}

/** Whether content of a part is ciphertext: a JSON object with the member "alg", which clear content never has. */
export function isEncrypted(content) {
  return content.length > 24 && fromUtf8(content.subarray(0, 24)) === '{"alg":"A256GCM","data":';
}

/** Opens encrypted content by its part's own key (32 bytes), to which the content commits. `id` is the entry's, hex. */
export async function openPart(id, name, content, key) {
  check(isEncrypted(content) && key.length === 32, "the content is not encrypted, or the key is none");
  const text = fromUtf8(content);
  const told = readCanonical(text, "encrypted content");
  check(canonical(told) === text && Object.keys(told).join() === "alg,data,key,v" && told.v === 1 && isText(told.data) && told.key === toHex(await sha256(key)), "the key is not the one that the content commits to");
  try {
    const imported = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
    const algorithm = { name: "AES-GCM", iv: new Uint8Array(12), additionalData: concat(fromHex(id), toUtf8(name)) };
    return new Uint8Array(await crypto.subtle.decrypt(algorithm, imported, fromBase64(told.data)));
  } catch {
    throw new VerificationError("the content cannot be opened by its key");
  }
}

// ---- Proof files. Source: C2SP tlog-proof.

/** Takes a proof file apart without believing it: {index, proof, checkpoint, extra}; `extra` is null where there is none. */
export function parseProofFile(text) {
  check(toUtf8(text).length <= MAX_PROOF_BYTES, `the file is over ${MAX_PROOF_BYTES} bytes`);
  const split = text.indexOf("\n\n");
  check(split >= 0, "not a tlog-proof: there is no empty line before a checkpoint");
  const lines = text.slice(0, split).split("\n");
  const checkpoint = text.slice(split + 2);
  check(lines.shift() === PROOF_HEADER, `not a tlog-proof: the first line is not ${PROOF_HEADER}`);
  const extra = lines[0]?.startsWith("extra ") ? fromBase64(lines.shift().slice("extra ".length)) : null;
  check(extra === null || extra.length <= MAX_EXTRA_BYTES, `the extra data is over ${MAX_EXTRA_BYTES} bytes`);
  const number = /^index (0|[1-9][0-9]{0,18})$/.exec(lines.shift() ?? "");
  check(number !== null, "the line `index` with a decimal number is missing");
  const proof = lines.map(fromBase64);
  const index = BigInt(number[1]);
  const isSound = index < MAX_SIZE && proof.length <= MAX_HASHES && proof.every((hash) => hash.length === HASH_BYTES);
  check(isSound, "the index, the number of hashes or the size of one is out of its limits");
  parseNote(checkpoint);
  return { index, proof, checkpoint, extra };
}

/**
 * Verifies a proof file with nothing but trusted keys: those of logs, and of witnesses, of which at least `quorum` must have cosigned.
 * `entry` is the entry's exact bytes, where the file does not hold them. Gives {entry, index, checkpoint}.
 */
export async function verifyProofFile(text, keys, { quorum = 0, entry = null } = {}) {
  const file = parseProofFile(text);
  const bytes = entry ?? file.extra;
  check(bytes !== null, "the proof file does not hold the entry: give the entry's bytes beside it");
  const checkpoint = await openCheckpoint(file.checkpoint, keys);
  await verifyInclusion(await leafHash(bytes), file.index, checkpoint.size, file.proof, checkpoint.root);
  check(checkpoint.cosigned.size >= quorum, `the checkpoint is cosigned by ${checkpoint.cosigned.size} witnesses, not ${quorum}`);
  return { entry: readEntry(bytes), index: file.index, checkpoint };
}

// ---- Proof bundles: docs/web.md

const BUNDLE_FORMAT = "goodstrace/proof-bundle@v1";
const MAX_BUNDLE_BYTES = 64 * 1024 * 1024;
const MAX_BUNDLE_ENTRIES = 2000;

function isText(...values) {
  return values.every((value) => typeof value === "string");
}

/** The members of a bundle, and no others, in their order. */
function bundleInOrder({ checkpoints, entries, format, key }) {
  return {
    checkpoints: checkpoints.map(({ log, note }) => ({ log, note })),
    entries: entries.map(({ entry, index, log, parts, proof }) => ({
      entry, index, log, parts: parts.map(({ content, name, salt }) => ({ content, name, salt })), proof,
    })),
    format,
    key,
  };
}

function isSoundBundle(bundle) {
  const { checkpoints, entries, format, key } = bundle;
  return (
    isText(format, key) && Array.isArray(checkpoints) && Array.isArray(entries) && entries.length <= MAX_BUNDLE_ENTRIES &&
    checkpoints.every((each) => each !== null && isText(each.log, each.note)) &&
    entries.every((each) => each !== null && isText(each.entry, each.log) && isCount(each.index) && isSoundDisclosure(each))
  );
}

function isSoundDisclosure({ parts, proof }) {
  return (
    Array.isArray(proof) && proof.length <= MAX_HASHES && isText(...proof) && Array.isArray(parts) &&
    parts.every((part) => part !== null && isText(part.content, part.name, part.salt))
  );
}

/** Takes a proof bundle apart without believing it: {key, checkpoints: Map from log to note, entries}, its bytes decoded. */
export function parseBundle(text) {
  check(text.length <= MAX_BUNDLE_BYTES, `the bundle is over ${MAX_BUNDLE_BYTES} bytes`);
  let bundle;
  try {
    bundle = JSON.parse(text);
  } catch {
    throw new VerificationError("not a proof bundle: no JSON");
  }
  check(typeof bundle === "object" && bundle !== null && isSoundBundle(bundle), "not a proof bundle: a field is missing or out of its limits");
  check(bundle.format === BUNDLE_FORMAT, `not a proof bundle of a format that is known: its format is not ${BUNDLE_FORMAT}`);
  check(JSON.stringify(bundleInOrder(bundle)) === text, "the bundle is not in its canonical form");
  const checkpoints = new Map(bundle.checkpoints.map(({ log, note }) => [log, note]));
  check(checkpoints.size === bundle.checkpoints.length, "the bundle has two checkpoints of a log");
  const entries = bundle.entries.map((each) => ({
    log: each.log,
    index: BigInt(each.index),
    entry: fromBase64(each.entry),
    proof: each.proof.map(fromBase64),
    parts: each.parts.map(({ content, name, salt }) => ({ name, salt: fromBase64(salt), content: fromBase64(content) })),
  }));
  const places = new Set(entries.map((each) => `${each.log}[${each.index}]`));
  check(places.size === entries.length, "the bundle has an entry twice");
  return { key: bundle.key, checkpoints, entries };
}

/**
 * Verifies each entry of a parsed bundle by keys that are trusted. Gives one result for each, in order: {log, index, sealed, entry, checkpoint},
 * or {log, index, sealed, error} with the VerificationError of what does not hold. `quorum` is how many of the witness keys must have cosigned.
 */
export async function verifyBundleEntries(bundle, keys, { quorum = 0 } = {}) {
  const opened = new Map();
  const open = (log) => {
    if (!opened.has(log)) opened.set(log, openBundled(bundle.checkpoints.get(log), log, keys, quorum));
    return opened.get(log);
  };
  return Promise.all(
    bundle.entries.map(async (sealed) => {
      const place = { log: sealed.log, index: sealed.index, sealed };
      try {
        const checkpoint = await open(sealed.log);
        return { ...place, entry: await verifySealed(sealed, checkpoint), checkpoint };
      } catch (error) {
        if (!(error instanceof VerificationError)) throw error;
        return { ...place, error };
      }
    }),
  );
}

async function openBundled(note, log, keys, quorum) {
  check(note !== undefined, `the bundle has no checkpoint of the log ${log}`);
  const checkpoint = await openCheckpoint(note, keys);
  check(checkpoint.origin.endsWith(`/${log}`), `the checkpoint of ${log} is that of ${checkpoint.origin}`);
  check(checkpoint.cosigned.size >= quorum, `the checkpoint is cosigned by ${checkpoint.cosigned.size} witnesses, not ${quorum}`);
  return checkpoint;
}

/** Verifies a bundle as a whole: gives {key, entries}, and refuses it where any entry does not hold, or there is none. */
export async function verifyBundle(text, keys, options = {}) {
  const bundle = parseBundle(text);
  check(bundle.entries.length > 0, "the bundle holds no entry");
  const entries = await verifyBundleEntries(bundle, keys, options);
  for (const each of entries) if (each.error) throw each.error;
  return { key: bundle.key, entries };
}

// ---- Whole logs, by their tiles and entry bundles. Source: C2SP tlog-tiles.

const TILE_WIDTH = 256n;
const MAX_BUNDLED_BYTES = 65535;

function numberPath(n, width) {
  const groups = [];
  for (let left = n; left > 0n || groups.length === 0; left /= 1000n) groups.unshift(String(left % 1000n).padStart(3, "0"));
  const path = groups.map((group, place) => (place < groups.length - 1 ? `x${group}` : group)).join("/");
  return width < TILE_WIDTH ? `${path}.p/${width}` : path;
}

function takeEntries(bytes, count) {
  const [entries, view] = [[], new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)];
  for (let at = 0; at < bytes.length; at += 2 + entries[entries.length - 1].length) {
    check(at + 2 <= bytes.length && at + 2 + view.getUint16(at) <= bytes.length, "an entry bundle ends within an entry");
    entries.push(bytes.subarray(at + 2, at + 2 + view.getUint16(at)));
  }
  check(BigInt(entries.length) === count, `an entry bundle has ${entries.length} entries, not ${count}`);
  return entries;
}

/**
 * A log of `size` entries behind `read`, which gives the bytes of a path below the log's address ("tile/0/000"). Nothing of what it
 * gives is believed: whatever is made of it must come to a root that is signed.
 */
export class TiledLog {
  #read;
  #above = new Map(); // tiles over the lowest level, of which there are few
  constructor(read, size) {
    check(size >= 0n && size <= MAX_SIZE, "the size is out of its limits");
    this.#read = read;
    this.size = size;
  }

  #width(level, n) {
    const there = (this.size >> BigInt(8 * level)) - n * TILE_WIDTH;
    check(there > 0n, `a log of ${this.size} entries has no tile ${n} of level ${level}`);
    return there < TILE_WIDTH ? there : TILE_WIDTH;
  }

  async #tile(level, n) {
    const [width, known] = [this.#width(level, n), this.#above.get(`${level}/${n}`)];
    if (known !== undefined) return known;
    const bytes = await this.#read(`tile/${level}/${numberPath(n, width)}`);
    check(BigInt(bytes.length) === width * BigInt(HASH_BYTES), `tile ${n} of level ${level} has not ${width} hashes`);
    const hashes = Array.from({ length: Number(width) }, (_, place) => bytes.subarray(place * HASH_BYTES, (place + 1) * HASH_BYTES));
    if (level > 0) this.#above.set(`${level}/${n}`, hashes);
    return hashes;
  }

  /** The hash of the subtree over the leaves start..end-1, as RFC 6962 splits the tree. */
  async node(start, end) {
    const count = end - start;
    if ((count & (count - 1n)) === 0n && start % count === 0n) {
      let [level, width, first] = [0, count, start];
      for (; width >= TILE_WIDTH; level += 1) [width, first] = [width / TILE_WIDTH, first / TILE_WIDTH];
      const [tile, at] = [await this.#tile(level, first / TILE_WIDTH), Number(first % TILE_WIDTH)];
      return rootOf(tile.slice(at, at + Number(width)));
    }
    const middle = start + leftSize(count);
    return nodeHash(await this.node(start, middle), await this.node(middle, end));
  }

  /** The entries of bundle `n`, each with its leaf hash, which must be the one that the tile beside it has. */
  async bundle(n) {
    const width = this.#width(0, n);
    const bytes = await this.#read(`tile/entries/${numberPath(n, width)}`);
    check(bytes.length <= Number(width) * (2 + MAX_BUNDLED_BYTES), "an entry bundle is too long");
    const [entries, tile] = [takeEntries(bytes, width), await this.#tile(0, n)];
    const leaves = await Promise.all(entries.map(leafHash));
    const other = leaves.findIndex((leaf, place) => !isSame(leaf, tile[place]));
    check(other < 0, `entry ${n * TILE_WIDTH + BigInt(other)} is not the one that the tree has there`);
    return { entries, leaves };
  }
}

/** Checks by its tiles that a log, of which `size` and `root` are signed, begins with all of what it was when it had `oldSize` and `oldRoot`. */
export async function verifyGrowth(log, { size, root }, { size: oldSize, root: oldRoot }) {
  check(log.size === size, "the log is read at another size than that of its checkpoint");
  const proof = [];
  for (const [start, end] of consistencyPath(oldSize, size)) proof.push(await log.node(start, end));
  await verifyConsistency(oldSize, oldRoot, size, root, proof);
}

/**
 * Checks every entry from `first` to before `end`, and those beside them in the same bundles of 256: in their one form, and hashed up to the root of
 * the checkpoint. `tell` is told how many are done, of how many. Gives {first, end, kinds}: what was checked, and a Map of how many there are of each kind.
 */
export async function verifyEntries(log, { size, root }, first, end, tell = () => {}) {
  check(log.size === size && first >= 0n && first < end && end <= size, `a log of ${size} entries has not those from ${first} to ${end}`);
  const low = first - (first % TILE_WIDTH);
  const above = end + ((TILE_WIDTH - (end % TILE_WIDTH)) % TILE_WIDTH);
  const high = above < size ? above : size;
  const kinds = new Map();
  let done = low;
  const hashed = async (start, stop) => {
    if (stop <= low || start >= high) return log.node(start, stop);
    if (stop - start <= TILE_WIDTH) {
      const { entries, leaves } = await log.bundle(start / TILE_WIDTH);
      for (const bytes of entries) {
        const { kind } = readEntry(bytes);
        kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
      }
      done += stop - start;
      tell(done - low, high - low);
      return rootOf(leaves);
    }
    const middle = start + leftSize(stop - start);
    const left = await hashed(start, middle);
    return nodeHash(left, await hashed(middle, stop));
  };
  check(isSame(await hashed(0n, size), root), `the entries from ${low} to ${high - 1n} do not lead to the root that is signed`);
  return { first: low, end: high, kinds };
}

// ---- Blocks and changes of keys: docs/decisions/0001-sealed-formats.md

function sorted(value) {
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])]));
}

/** The one form of a JSON object of ours, RFC 8785: members sorted, no blanks. */
export function canonical(value) {
  return JSON.stringify(sorted(value));
}

function readCanonical(text, what) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new VerificationError(`not ${what}: no JSON`);
  }
  check(typeof value === "object" && value !== null && !Array.isArray(value), `not ${what}`);
  return value;
}

/** Checks the header of a block (its exact text) by the key that must have signed it. Gives {header, hash}: the next header names that hash. */
export async function verifyBlock(text, signature, key) {
  const header = readCanonical(text, "a block's header");
  check(canonical(header) === text, "the block's header is not in its canonical form");
  const { count, first, height, size, time } = header;
  check([count, first, height, size, time].every(isCount) && first + count === size && isHash(header.root), "a number of the block's header is not what it must be");
  const bytes = toUtf8(text);
  check(await hasSigned(key, signature, concat(toUtf8("\u0003goodstrace block v1\u0000"), bytes)), `the block ${height} is not signed by ${key.name}`);
  return { header, hash: toHex(await sha256(toUtf8("\u0004goodstrace block v1\u0000"), bytes)) };
}

/** Checks the statement by which a log changes its key (its exact text), signed by both keys. Gives its fields. */
export async function verifyKeyChange(text) {
  const change = readCanonical(text, "a change of key");
  check(canonical(change) === text, "the change of key is not in its canonical form");
  const { new: after, new_signature, old: before, old_signature, ...rest } = change;
  check(isText(after, new_signature, before, old_signature, rest.origin) && before !== after, "a field of the change of key is missing");
  const message = toUtf8(`\u0005goodstrace key change v1\u0000${canonical({ ...rest, new: after, old: before })}`);
  for (const [vkey, signature] of [[before, old_signature], [after, new_signature]]) {
    const key = await readKey(vkey);
    check(key.type === LOG_KEY && key.name === rest.origin, "a key of the change is not the log's");
    check(await hasSigned(key, fromHex(signature), message), `the change of key is not signed by ${vkey}`);
  }
  return change;
}

/** Checks that changes, oldest first, lead from a key (vkey) that is known to the one that is shown now. */
export async function verifySuccession(known, now, statements) {
  const changes = await Promise.all(statements.map(verifyKeyChange));
  let [key, size] = [known, -1];
  const from = changes.findIndex((change) => change.old === known);
  check(from >= 0 || known === now, "no statement leads from the key that is known");
  for (const change of from < 0 ? [] : changes.slice(from)) {
    check(change.old === key && change.size > size, "the changes of the key do not follow each other");
    [key, size] = [change.new, change.size];
  }
  check(key === now, "the changes of the key do not lead to the one that is shown now");
}

// ---- Completeness: docs/completeness.md

const TAG_BYTES = 16;
const ROW_BYTES = 24;
const PAGE_BYTES = 16 * ROW_BYTES;
const MAX_PAGES = 8192;
const INDEX_PART = "index";
/** The kind of name of a key, among those of docs/completeness.md. */
export const KEY_NAME = 1;

/** The tag (16 bytes) by which entries with a name are found: made with the index secret. */
export async function tagOf(secret, kind, text) {
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const whole = await crypto.subtle.sign("HMAC", key, concat(Uint8Array.of(kind), toUtf8(text)));
  return new Uint8Array(whole).subarray(0, TAG_BYTES);
}

/** What an index leaf says of the index secret, as hex. */
export async function secretCommitment(secret) {
  return toHex(await sha256(toUtf8("goodstrace index secret commitment v1\n"), secret));
}

/** Reads the part `index` of an entry of the log `index`: which logs it covers how far, and the runs. */
export function readIndexLeaf(bytes) {
  const text = fromUtf8(bytes);
  const leaf = readCanonical(text, "an index leaf");
  const { logs, root, runs, secret, v } = leaf;
  const isSound =
    v === 1 && Array.isArray(logs) && logs.length <= 4096 && Array.isArray(runs) && runs.length <= 128 && isHash(secret) && isHash(root?.hash) &&
    isCount(root.size) && logs.every((each) => isText(each?.log) && isCount(each.size) && each.size > 0) &&
    runs.every((run) => isHash(run?.root) && [run.rows, run.since, run.to].every(isCount));
  check(isSound && new Set(logs.map((each) => each.log)).size === logs.length, "an index leaf has a field out of its limits");
  const inPlace = {
    logs: logs.map(({ log, size }) => ({ log, size })), root: { hash: root.hash, size: root.size },
    runs: runs.map(({ root: hash, rows, since, to }) => ({ root: hash, rows, since, to })), secret, v,
  };
  check(JSON.stringify(inPlace) === text, "an index leaf is not in its canonical form");
  let reached = 0;
  for (const { since, to } of runs) {
    check(since === reached && to > since, `the run ${since}..${to} does not follow the one before`);
    reached = to;
  }
  check(reached === root.size, `the runs end with ${reached}, not ${root.size}`);
  return leaf;
}

/** Checks that neighbouring leaves with these hashes are at `first` and after it in the tree of `size` leaves with this root. */
export async function verifyRange(leaves, first, size, proof, root) {
  const end = first + BigInt(leaves.length);
  check(leaves.length > 0 && first >= 0n && end <= size && size <= MAX_SIZE, `there are no leaves ${first}..${end} in a tree of size ${size}`);
  let used = 0;
  const walk = async (start, stop) => {
    if (stop <= first || start >= end) {
      check(used < proof.length && proof[used].length === HASH_BYTES, "the proof has too few hashes");
      used += 1;
      return proof[used - 1];
    }
    if (first <= start && stop <= end) return rootOf(leaves.slice(Number(start - first), Number(stop - first)));
    const middle = start + leftSize(stop - start);
    const left = await walk(start, middle);
    return nodeHash(left, await walk(middle, stop));
  };
  const found = await walk(0n, size);
  check(used === proof.length && isSame(found, root), `the leaves from ${first} on are not in the tree of size ${size} with that root`);
}

/** The rows (hex, 24 bytes each) of a piece of a run, checked: `piece` is {first, pages, hashes}. */
async function verifyPages(run, { first, pages, hashes }) {
  const [all, count] = [Math.ceil(run.rows / 16), Math.ceil(pages.length / PAGE_BYTES)];
  check(count > 0 && count <= MAX_PAGES && isCount(first) && first + count <= all, `the run ${run.since}..${run.to} has not these pages`);
  const last = first + count === all ? run.rows - (all - 1) * 16 : 16;
  check(pages.length === (count - 1) * PAGE_BYTES + last * ROW_BYTES, `a page of the run ${run.since}..${run.to} has not the rows that it must have`);
  const leaves = Array.from({ length: count }, (_, place) => leafHash(pages.subarray(place * PAGE_BYTES, (place + 1) * PAGE_BYTES)));
  await verifyRange(await Promise.all(leaves), BigInt(first), BigInt(all), hashes, fromHex(run.root));
  const rows = toHex(pages).match(/.{48}/g);
  check(rows.every((row, place) => place === 0 || rows[place - 1] < row), `the rows of the run ${run.since}..${run.to} are not in order`);
  return { rows, end: first + count, all };
}

/**
 * Checks which entries have a tag, under an index leaf that is verified: `pieces` are those of all runs with rows, in order, each {first, pages, hashes}.
 * Gives all of them, and there are no others, as [log, index], index a BigInt.
 */
export async function verifyRows(leaf, tag, pieces) {
  check(tag.length === TAG_BYTES, "a tag has 16 bytes");
  const [wanted, found, left] = [toHex(tag), [], [...pieces]];
  for (const run of leaf.runs.filter((each) => each.rows > 0)) {
    let page = null;
    for (let isOver = false; !isOver; ) {
      const piece = left.shift();
      check(piece !== undefined, "the proof of a tag is not whole");
      const { rows, end, all } = await verifyPages(run, piece);
      if (page === null) check(piece.first === 0 || rows[0].slice(0, 32) < wanted, "the pages begin behind the first row of the tag");
      else check(piece.first === page, "the pages do not go on where they ended");
      for (const row of rows.filter((each) => each.slice(0, 32) === wanted)) {
        const [log, index] = [leaf.logs[Number.parseInt(row.slice(32, 36), 16)], BigInt(`0x${row.slice(36)}`)];
        check(log !== undefined && index < BigInt(log.size), `the run ${run.since}..${run.to} has a row of no entry that is covered`);
        found.push([log.log, index]);
      }
      isOver = end === all || rows[rows.length - 1].slice(0, 32) > wanted;
      page = end;
    }
  }
  check(left.length === 0, "the proof of a tag has more pages than there are runs");
  return found;
}

/**
 * Checks all of a proof of completeness for a canonical key: {key, secret, note, leaf: {entry, index, proof, parts}, pieces}, by keys that are trusted.
 * Gives {leaf, places, checkpoint}: `places` are all entries with that key, up to what the leaf covers.
 */
export async function verifyComplete({ key, secret, note, leaf, pieces }, keys) {
  const checkpoint = await openCheckpoint(note, keys);
  check(checkpoint.origin.endsWith("/index"), `the checkpoint is that of ${checkpoint.origin}`);
  check(leaf.index === checkpoint.size - 1n, "it is not the newest entry of the log `index`");
  const entry = await verifySealed(leaf, checkpoint);
  const part = leaf.parts.find((each) => each.name === INDEX_PART);
  check(entry.kind === "index" && part !== undefined, "it is no entry of the log `index`");
  const read = readIndexLeaf(part.content);
  check(read.secret === (await secretCommitment(secret)), "the index secret is not the one that the index is made with");
  return { leaf: read, places: await verifyRows(read, await tagOf(secret, KEY_NAME, key), pieces), checkpoint };
}
