// The pages of auditors: verifies a log in this browser from its public tiles and entry bundles, and the header of a block. Green is only what verified here.
import {
  TiledLog, VerificationError, canonical, fromHex, openCheckpoint, readKey, toHex, verifyBlock, verifyEntries, verifyGrowth, verifySuccession,
} from "./verify.js";
import { canVerify, recall, remember, say } from "./known.js";

const KEYS = "goodstrace-log-keys";
const CHECKPOINTS = "goodstrace-checkpoints";
const USUAL_ENTRIES = 25600n;
const MOST_ENTRIES = 1000000n;

class StoppedError extends Error {}

function number(text) {
  return /^[0-9]{1,15}$/.test(text.trim()) ? BigInt(text.trim()) : null;
}

function mark(step, state, text) {
  const element = document.getElementById(`step-${step}`);
  element.dataset.state = state;
  element.querySelector(".said").textContent = text;
}

async function get(path, signal) {
  const answer = await fetch(path, { cache: "no-store", signal });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer;
}

/** The log's key: the one that this browser has known, or that follows from it by statements that both keys have signed. */
async function checkKey(log, origin, signal) {
  const history = await (await get(`/logs/${log}/keys`, signal)).json();
  const vkey = history[history.length - 1].vkey;
  const known = recall(KEYS)[origin];
  const texts = document.getElementById("step-key").dataset;
  if (known !== undefined) await verifySuccession(known, vkey, history.slice(1).map(({ change }) => canonical(change)));
  const key = await readKey(vkey);
  if (key.name !== origin) throw new VerificationError(`the key is named ${key.name}, and not ${origin}`);
  mark("key", "good", known === undefined ? texts.first : texts.good);
  return { key, vkey };
}

async function checkGrowth(tiled, checkpoint, origin) {
  const texts = document.getElementById("step-growth").dataset;
  const known = recall(CHECKPOINTS)[origin];
  if (known === undefined) return mark("growth", "good", texts.first);
  const older = { size: BigInt(known.size), root: fromHex(known.root) };
  if (older.size > checkpoint.size) throw new VerificationError(`the log had ${older.size} entries, and has ${checkpoint.size} now`);
  await verifyGrowth(tiled, checkpoint, older);
  return mark("growth", "good", texts.good.replace("{old}", older.size).replace("{size}", checkpoint.size));
}

async function run(form, signal) {
  const option = form.elements.log.selectedOptions[0];
  const [log, origin] = [option.value, option.dataset.origin];
  const progress = document.getElementById("run-progress");
  let step = "key";
  try {
    const { key, vkey } = await checkKey(log, origin, signal);
    step = "checkpoint";
    const witnesses = await Promise.all(form.dataset.witnesses.split(" ").filter(Boolean).map(readKey));
    const note = await (await get(`/logs/${log}/checkpoint`, signal)).text();
    const checkpoint = await openCheckpoint(note, [key, ...witnesses]);
    const names = [...checkpoint.cosigned.keys()].join(", ") || "–";
    mark("checkpoint", "good", document.getElementById("step-checkpoint").dataset.good.replace("{size}", checkpoint.size).replace("{root}", toHex(checkpoint.root)).replace("{names}", names));
    const [first, end] = [number(form.elements["run-first"].value), number(form.elements["run-end"].value)];
    const isSound = first !== null && end !== null && first < end && end <= checkpoint.size && end - first <= MOST_ENTRIES;
    if (!isSound) throw new RangeError();
    const read = async (path) => {
      if (signal.aborted) throw new StoppedError();
      return new Uint8Array(await (await get(`/logs/${log}/${path}`, signal)).arrayBuffer());
    };
    const tiled = new TiledLog(read, checkpoint.size);
    step = "growth";
    await checkGrowth(tiled, checkpoint, origin);
    step = "entries";
    const checked = await verifyEntries(tiled, checkpoint, first, end, (done, all) => { progress.value = Number(done) / Number(all); });
    const kinds = [...checked.kinds].map(([kind, count]) => `${kind} ${count}`).join(", ");
    const said = document.getElementById("step-entries").dataset.good;
    mark("entries", "good", said.replace("{first}", checked.first).replace("{last}", checked.end - 1n).replace("{kinds}", kinds));
    remember(KEYS, { ...recall(KEYS), [origin]: vkey });
    remember(CHECKPOINTS, { ...recall(CHECKPOINTS), [origin]: { size: String(checkpoint.size), root: toHex(checkpoint.root) } });
    return "good";
  } catch (error) {
    if (error instanceof VerificationError) {
      mark(step, "bad", `${document.getElementById(`step-${step}`).dataset.bad} ${error.message}`);
      return "bad";
    }
    if (error instanceof RangeError) return "range";
    return error instanceof StoppedError || error.name === "AbortError" ? "stopped" : "away";
  }
}

function usual(form) {
  const size = BigInt(form.elements.log.selectedOptions[0]?.dataset.size ?? "0");
  form.elements["run-end"].value = String(size);
  form.elements["run-first"].value = String(size > USUAL_ENTRIES ? size - USUAL_ENTRIES : 0n);
}

function prepare(form) {
  const [go, stop, result, status] = ["run-go", "run-stop", "run-result", "run-status"].map((id) => document.getElementById(id));
  let stopping;
  document.getElementById("run-hint").hidden = true;
  go.disabled = form.elements.log.options.length === 0;
  usual(form);
  form.elements.log.addEventListener("change", () => usual(form));
  stop.addEventListener("click", () => stopping?.abort());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    stopping = new AbortController();
    [go.disabled, stop.hidden, result.hidden, result.dataset.state] = [true, false, false, "none"];
    document.getElementById("run-progress").value = 0;
    for (const step of ["key", "checkpoint", "growth", "entries"]) mark(step, "none", "");
    say(status, status.dataset.running);
    const outcome = (await canVerify()) ? await run(form, stopping.signal) : "old";
    [go.disabled, stop.hidden] = [false, true];
    result.dataset.state = ["good", "bad"].includes(outcome) ? outcome : "open";
    say(status, status.dataset[outcome]);
  });
}

async function checkBlock(seal) {
  const said = seal.querySelector(".said");
  if (!(await canVerify())) return say(said, seal.dataset.old);
  try {
    const known = recall(KEYS)[seal.dataset.origin];
    const key = await readKey(seal.dataset.vkey);
    if (key.name !== seal.dataset.origin) throw new VerificationError(`the key is named ${key.name}`);
    const text = document.getElementById("block-header").textContent;
    await verifyBlock(text, fromHex(seal.dataset.signature), key);
    seal.dataset.state = "good";
    say(said, seal.dataset.good.replace("{known}", known === seal.dataset.vkey ? "✓" : "–"));
  } catch (error) {
    seal.dataset.state = "bad";
    say(said, `${seal.dataset.bad} ${error instanceof VerificationError ? error.message : ""}`);
  }
}

const form = document.getElementById("run");
if (form) prepare(form);
const seal = document.getElementById("block-check");
if (seal) checkBlock(seal);
