// Holds services/query/web/static/verify.js to tests/vectors: `node vectors.mjs`. Prints how many of what was checked, or the first that is wrong.
import { readFileSync } from "node:fs";
import * as verify from "../../../services/query/web/static/verify.js";

const vectors = (name) => JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), "utf8"));
const { fromHex, toHex, VerificationError } = verify;
const counts = {};

function count(what) {
  counts[what] = (counts[what] ?? 0) + 1;
}

function equal(found, wanted, what) {
  if (found !== wanted) throw new Error(`${what}: ${found} and not ${wanted}`);
}

async function refused(what, attempt) {
  try {
    await attempt();
  } catch (error) {
    if (error instanceof VerificationError) return count(`${what} refused`);
    throw new Error(`${what}: not refused but failed`, { cause: error });
  }
  throw new Error(`${what}: not refused`);
}

const keysOf = (vkeys) => Promise.all(vkeys.map(verify.readKey));

async function trees() {
  for (const tree of vectors("merkle").trees) {
    const [size, root] = [BigInt(tree.size), fromHex(tree.root)];
    const leafAt = (index) => verify.leafHash(tree.leaves ? fromHex(tree.leaves[index]) : new TextEncoder().encode(`leaf ${index}`));
    if (size <= 600n) {
      const all = await Promise.all(Array.from({ length: Number(size) }, (_, index) => leafAt(index)));
      equal(toHex(await verify.rootOf(all)), tree.root, `the root of ${size} leaves`);
      count("trees");
    }
    for (const { index, proof } of tree.inclusion) {
      const [leaf, hashes] = [await leafAt(index), proof.map(fromHex)];
      await verify.verifyInclusion(leaf, BigInt(index), size, hashes, root);
      count("inclusion proofs");
      await refused("inclusion proofs", () => verify.verifyInclusion(leaf, BigInt(index), size, [...hashes, root], root));
      await refused("inclusion proofs", () => verify.verifyInclusion(leaf, BigInt(index) + 1n, size, hashes, root));
      const other = Uint8Array.from(leaf, (byte, place) => (place ? byte : byte ^ 1));
      await refused("inclusion proofs", () => verify.verifyInclusion(other, BigInt(index), size, hashes, root));
    }
    for (const { old_size, old_root, proof } of tree.consistency) {
      const [older, hashes] = [fromHex(old_root), proof.map(fromHex)];
      await verify.verifyConsistency(BigInt(old_size), older, size, root, hashes);
      count("consistency proofs");
      await refused("consistency proofs", () => verify.verifyConsistency(BigInt(old_size), older, size, root, [...hashes, root]));
      if (BigInt(old_size) < size && old_size) {
        await refused("consistency proofs", () => verify.verifyConsistency(BigInt(old_size), root, size, root, hashes));
      }
    }
  }
}

async function notes() {
  const told = vectors("notes");
  for (const { note, text, vkeys, known } of told.notes) {
    const opened = await verify.openNote(note, await keysOf(vkeys));
    equal(opened.text, text, "the text of a note");
    equal(opened.signed.length, vkeys.length, "the signatures of a note");
    equal((await verify.openNote(note, await keysOf(known))).signed.length, known.length, "the known signatures of a note");
    count("notes");
  }
  for (const { note, vkey, origin, size, root } of told.checkpoints) {
    const checkpoint = await verify.openCheckpoint(note, await keysOf([vkey]));
    equal([checkpoint.origin, checkpoint.size, toHex(checkpoint.root)].join(), [origin, size, root].join(), "a checkpoint");
    count("checkpoints");
  }
  for (const { note, vkeys, why } of told.refused) {
    await refused("notes", async () => verify.openNote(note, await keysOf(vkeys)).catch((error) => {
      if (!(error instanceof VerificationError)) throw new Error(why, { cause: error });
      throw error;
    }));
  }
}

async function cosignatures() {
  const told = vectors("cosignatures");
  for (const { note, vkey, time } of told.cosignatures) {
    const { signed } = await verify.openNote(note, await keysOf([vkey]));
    const { signature } = signed[0];
    equal(new DataView(signature.buffer, signature.byteOffset, 8).getBigUint64(0), BigInt(time), "the time of a cosignature");
    count("cosignatures");
  }
  for (const { note, vkey } of told.refused) await refused("cosignatures", async () => verify.openNote(note, await keysOf([vkey])));
}

async function entries() {
  const told = vectors("entries");
  for (const { bytes, leaf_hash, parts, tags } of told.entries) {
    const encoded = new TextEncoder().encode(bytes);
    equal(toHex(await verify.leafHash(encoded)), leaf_hash, "a leaf");
    const entry = verify.readEntry(encoded);
    count("entries");
    for (const { name, salt, content } of parts) {
      const part = { name, salt: fromHex(salt), content: fromHex(content) };
      await verify.verifyPart(entry, part);
      count("parts");
      await refused("parts", () => verify.verifyPart(entry, { ...part, content: verify.concat(part.content, Uint8Array.of(0)) }));
      await refused("parts", () => verify.verifyPart(entry, { ...part, salt: new Uint8Array(32) }));
      await refused("parts", () => verify.verifyPart(entry, { ...part, name: "other" }));
    }
    const leaves = await Promise.all(tags.map((tag) => verify.leafHash(fromHex(tag))));
    equal(toHex(await verify.rootOf(leaves)), entry.tags.root, "the root of tags");
  }
  for (const { name, salt, content, commit } of told.commitments) {
    equal(await verify.commitment(name, fromHex(salt), fromHex(content)), commit, "a commitment");
    count("commitments");
  }
  for (const { bytes } of told.refused) await refused("entries", () => verify.readEntry(new TextEncoder().encode(bytes)));
}

async function tagPaths() {
  for (const { n, root, tag, index, path } of vectors("tag_paths").paths) {
    const entry = { tags: { n: Number(n), root } };
    await verify.verifyTag(entry, fromHex(tag), BigInt(index), path.map(fromHex));
    count("tag paths");
    await refused("tag paths", () => verify.verifyTag(entry, new Uint8Array(16), BigInt(index), path.map(fromHex)));
  }
}

async function proofFiles() {
  const told = vectors("proof_files");
  const vkeys = told.policy.split("\n").filter((line) => /^(log|witness) /.test(line)).map((line) => line.split(" ").at(-1));
  const keys = await keysOf(vkeys);
  for (const { proof, index, size, entry, cosigned } of told.proofs) {
    const verified = await verify.verifyProofFile(proof, keys, { quorum: 2, entry: fromHex(entry) });
    equal([verified.index, verified.checkpoint.size].join(), [index, size].join(), "the place of an entry");
    equal([...verified.checkpoint.cosigned.values()].join(), Object.values(cosigned).join(), "the times of cosignatures");
    count("proof files");
  }
  for (const { proof } of told.refused) await refused("proof files", () => verify.verifyProofFile(proof, keys, { quorum: 2 }));
  const { proof } = told.proofs[1];
  for (let place = 0; place < proof.length; place += 1) {
    const changed = proof.slice(0, place) + (proof[place] === "A" ? "B" : "A") + proof.slice(place + 1);
    await verify.verifyProofFile(changed, keys, { quorum: 3 }).then(
      () => { throw new Error(`a proof file with character ${place} changed was taken`); },
      (error) => { if (!(error instanceof VerificationError)) throw error; },
    );
    await unchanged(changed, proof, keys);
  }
}

// A signature that is not needed may be spoilt; nothing that is proved may be another.
async function unchanged(changed, proof, keys) {
  count("changed proof files");
  const [log] = keys;
  let found;
  try {
    found = await verify.verifyProofFile(changed, [log]);
  } catch (error) {
    if (error instanceof VerificationError) return;
    throw error;
  }
  const wanted = await verify.verifyProofFile(proof, [log]);
  equal(JSON.stringify(found.entry), JSON.stringify(wanted.entry), "what a changed proof file proves");
  equal(found.index, wanted.index, "where it proves it");
}

async function proofBundles() {
  const told = vectors("proof_bundles");
  const keys = await keysOf(told.vkeys);
  const { key, entries } = await verify.verifyBundle(told.bundle, keys);
  equal(key, told.key, "the key of a bundle");
  equal(JSON.stringify(entries.map(({ log, index }) => [log, Number(index)])), JSON.stringify(told.places), "the places in a bundle");
  count("proof bundles");
  for (const { at, cut, put } of told.refused) {
    const changed = told.bundle.slice(0, at) + put + told.bundle.slice(at + cut);
    await refused("proof bundles", () => verify.verifyBundle(changed, keys));
  }
  for (let place = 0; place < told.bundle.length; place += 61) {
    const character = told.bundle[place] === "A" ? "B" : "A";
    const changed = told.bundle.slice(0, place) + character + told.bundle.slice(place + 1);
    const found = await verify.verifyBundle(changed, keys).catch((error) => {
      if (!(error instanceof VerificationError)) throw error;
    });
    if (found !== undefined && found.key === told.key) throw new Error(`a bundle with character ${place} changed was taken`);
    count("changed proof bundles");
  }
}

async function blocks() {
  const { seed, chain } = vectors("blocks");
  const key = await keyOfSeed(seed);
  let previous = "0".repeat(64);
  for (const { header, hash, signature } of chain) {
    const verified = await verify.verifyBlock(header, fromHex(signature), key);
    equal(verified.hash, hash, "the hash of a block");
    equal(verified.header.previous, previous, "the block before");
    previous = hash;
    count("blocks");
    await refused("blocks", () => verify.verifyBlock(header.replace('"v":1', '"v":2'), fromHex(signature), key));
    await refused("blocks", () => verify.verifyBlock(header.replace(",", ", "), fromHex(signature), key));
    await refused("blocks", () => verify.verifyBlock(header, fromHex(signature.replace(/^../, "00")), key));
  }
}

async function keyOfSeed(seed) {
  const pkcs8 = verify.concat(fromHex("302e020100300506032b657004220420"), fromHex(seed));
  const secret = await crypto.subtle.importKey("pkcs8", pkcs8, { name: "Ed25519" }, true, ["sign"]);
  const { x } = await crypto.subtle.exportKey("jwk", secret);
  return { name: "seed", type: 1, key: verify.fromBase64(`${x.replaceAll("-", "+").replaceAll("_", "/")}=`) };
}

async function keyChanges() {
  const { valid, invalid } = vectors("key_changes");
  for (const { statement, log, size } of valid) {
    const change = await verify.verifyKeyChange(statement);
    equal([change.log, change.size].join(), [log, size].join(), "a change of key");
    await verify.verifySuccession(change.old, change.new, [statement]);
    await verify.verifySuccession(change.new, change.new, []);
    count("key changes");
    await refused("key changes", () => verify.verifySuccession(change.old, change.old.replace(/.$/, "A"), [statement]));
    await refused("key changes", () => verify.verifyKeyChange(statement.replace(/"size":(\d+)/, '"size":1$1')));
  }
  // Limits of single fields are Python's to keep: what counts here is that both keys have signed these very bytes.
  let taken = 0;
  for (const { statement } of invalid) {
    await verify.verifyKeyChange(statement).then(() => { taken += 1; }, (error) => {
      if (!(error instanceof VerificationError)) throw error;
      count("key changes refused");
    });
  }
  if (taken > 0) throw new Error(`${taken} changes of key that Python refuses were taken`);
}

async function completeness() {
  const told = vectors("completeness");
  const secret = fromHex(told.secret);
  equal(await verify.secretCommitment(secret), told.secret_commitment, "the commitment to the index secret");
  for (const { kind, text, tag } of told.tags) {
    equal(toHex(await verify.tagOf(secret, kind, text)), tag, "a tag");
    count("tags");
  }
  for (const { size, first, leaves, root, proof } of told.ranges) {
    const hashes = await Promise.all(leaves.map((leaf) => verify.leafHash(fromHex(leaf))));
    const [start, whole, beside] = [BigInt(first), BigInt(size), proof.map(fromHex)];
    await verify.verifyRange(hashes, start, whole, beside, fromHex(root));
    count("range proofs");
    await refused("range proofs", () => verify.verifyRange(hashes, start, whole, [...beside, fromHex(root)], fromHex(root)));
    await refused("range proofs", () => verify.verifyRange([...hashes].fill(new Uint8Array(32)), start, whole, beside, fromHex(root)));
    await refused("range proofs", () => verify.verifyRange([...hashes, hashes[0]], start, whole, beside, fromHex(root)));
  }
  const leaf = verify.readIndexLeaf(new TextEncoder().encode(told.leaf));
  for (const changed of [told.leaf.replace('"v":1', '"v":2'), told.leaf.replace('"since":4', '"since":5'), `${told.leaf} `, "[]", "null"]) {
    await refused("index leaves", () => verify.readIndexLeaf(new TextEncoder().encode(changed)));
  }
  for (const { kind, text, tag, pieces, found } of told.proofs) {
    const [wanted, given] = [fromHex(tag), pieces.map(({ first_page, pages, hashes }) => ({ first: first_page, pages: fromHex(pages), hashes: hashes.map(fromHex) }))];
    equal(toHex(await verify.tagOf(secret, kind, text)), tag, "the tag of a name");
    const places = await verify.verifyRows(leaf, wanted, given);
    const sorted = places.map(([log, index]) => `${log}[${index}]`).sort().join();
    equal(sorted, found.map(([log, index]) => `${log}[${index}]`).sort().join(), "the entries of a name");
    count("proofs of names");
    await refused("proofs of names", () => verify.verifyRows(leaf, wanted, given.slice(1)));
    await refused("proofs of names", () => verify.verifyRows(leaf, wanted, [...given, given[0]]));
    for (const place of given.keys()) {
      const changed = given.map((each, at) => (at === place ? { ...each, pages: Uint8Array.from(each.pages, (byte, n) => (n === 20 ? byte ^ 1 : byte)) } : each));
      await refused("proofs of names", () => verify.verifyRows(leaf, wanted, changed));
      const moved = given.map((each, at) => (at === place ? { ...each, first: each.first + 1 } : each));
      await refused("proofs of names", () => verify.verifyRows(leaf, wanted, moved));
    }
  }
}

async function encryptedParts() {
  const { parts, refused: others } = vectors("encrypted_parts");
  const encoder = new TextEncoder();
  for (const { record_id, part, key, content, clear } of parts) {
    const bytes = encoder.encode(content);
    if (!verify.isEncrypted(bytes)) throw new Error("encrypted content is not taken for such");
    equal(toHex(await verify.openPart(record_id, part, bytes, fromHex(key))), clear, "an encrypted part");
    count("encrypted parts");
    await refused("encrypted parts", () => verify.openPart(record_id, `${part}x`, bytes, fromHex(key)));
    await refused("encrypted parts", () => verify.openPart(record_id, part, bytes, new Uint8Array(32)));
  }
  const [{ record_id, part, key }] = parts;
  for (const { content } of others) await refused("encrypted parts", () => verify.openPart(record_id, part, encoder.encode(content), fromHex(key)));
}

await trees();
await notes();
await cosignatures();
await entries();
await tagPaths();
await proofFiles();
await proofBundles();
await blocks();
await keyChanges();
await completeness();
await encryptedParts();
console.log(JSON.stringify(counts));
