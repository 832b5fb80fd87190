// Verifies proof files and proof bundles offline: node verify.mjs VKEYS FILE... See docs/clients.md.
// VKEYS is a file of trusted keys, one a line: of logs, and of witnesses; with --quorum N, so many of these must have cosigned.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { readKey, VerificationError, verifyBundle, verifyProofFile } from "../../services/query/web/static/verify.js";

const { positionals, values } = parseArgs({ allowPositionals: true, options: { quorum: { type: "string", default: "0" } } });
const [vkeys, ...files] = positionals;
if (vkeys === undefined || files.length === 0 || !/^\d+$/.test(values.quorum)) {
  console.error("usage: node verify.mjs [--quorum N] VKEYS FILE...");
  process.exit(2);
}
try {
  const keys = await Promise.all(readFileSync(vkeys, "utf8").split("\n").filter(Boolean).map(readKey));
  for (const file of files) {
    const [text, options] = [readFileSync(file, "utf8"), { quorum: Number(values.quorum) }];
    const proved = text.startsWith("{") ? (await verifyBundle(text, keys, options)).entries : [await verifyProofFile(text, keys, options)];
    for (const { entry, index, checkpoint } of proved) {
      console.log(`${file}: ${entry.kind} ${entry.id} is at ${checkpoint.origin}[${index}], of ${checkpoint.size} entries`);
    }
  }
} catch (error) {
  if (!(error instanceof VerificationError) && error.code === undefined) throw error;
  console.error(`refused: ${error.message}`);
  process.exitCode = 1;
}
