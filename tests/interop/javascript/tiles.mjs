// Verifies logs that lie as plain files by their tiles and entry bundles: `node tiles.mjs FILE`, a JSON list of logs with their earlier roots.
// Prints how many of what was checked, or the first that is wrong.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as verify from "../../../services/query/web/static/verify.js";

const { fromHex, VerificationError } = verify;
const counts = {};
const count = (what) => { counts[what] = (counts[what] ?? 0) + 1; };

async function refused(what, attempt) {
  try {
    await attempt();
  } catch (error) {
    if (error instanceof VerificationError) return count(`${what} refused`);
    throw error;
  }
  throw new Error(`${what}: not refused`);
}

/** Reads the files of a log, one byte of `spoilt` changed. */
const reading = (folder, spoilt = "") => async (path) => {
  const bytes = new Uint8Array(readFileSync(join(folder, path)));
  return path === spoilt ? Uint8Array.from(bytes, (byte, place) => (place === bytes.length - 1 ? byte ^ 1 : byte)) : bytes;
};

for (const { folder, vkey, older, ranges, spoilt } of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  const key = await verify.readKey(vkey);
  const checkpoint = await verify.openCheckpoint(readFileSync(join(folder, "checkpoint"), "utf8"), [key]);
  const log = new verify.TiledLog(reading(folder), checkpoint.size);
  for (const { size, root } of older) {
    await verify.verifyGrowth(log, checkpoint, { size: BigInt(size), root: fromHex(root) });
    count("growths");
    if (size === 0) continue;
    await refused("growths", () => verify.verifyGrowth(log, checkpoint, { size: BigInt(size), root: fromHex(root.replace(/^../, "00")) }));
  }
  for (const [first, end] of ranges) {
    let [told, of] = [0n, 0n];
    const checked = await verify.verifyEntries(log, checkpoint, BigInt(first), BigInt(end), (done, all) => { [told, of] = [done, all]; });
    const [low, high] = [first - (first % 256), Math.min(Math.ceil(end / 256) * 256, Number(checkpoint.size))];
    if (Number(checked.first) !== low || Number(checked.end) !== high || told !== of || told !== BigInt(high - low)) throw new Error(`range ${first}..${end}: ${JSON.stringify([checked.first, checked.end].map(Number))}`);
    if ([...checked.kinds.values()].reduce((sum, each) => sum + each, 0) !== high - low) throw new Error("not every entry was counted");
    count("ranges");
  }
  for (const path of spoilt) {
    await refused("spoilt files", () => verify.verifyEntries(new verify.TiledLog(reading(folder, path), checkpoint.size), checkpoint, 0n, checkpoint.size));
  }
  const { size } = checkpoint;
  for (const [first, end] of [[0n, 0n], [0n, size + 1n], [size, size + 1n], [-1n, 1n]]) {
    await refused("ranges", () => verify.verifyEntries(log, checkpoint, first, end));
  }
  await refused("other roots", () => verify.verifyEntries(log, { size, root: new Uint8Array(32) }, 0n, size));
}
console.log(JSON.stringify(counts));
