// Checks in the browser what a page shows: fetches the proof bundle, verifies every entry by verify.js, and compares what was verified with
// what stands on the page. Green is only what verified here. Without this script the page is whole, and says that nothing was checked.
import {
  VerificationError, canonical, fromBase64, fromHex, isEncrypted, openPart, parseBundle, readKey, verifyBundleEntries, verifyComplete, verifySuccession,
} from "./verify.js";
import { canVerify, filled, recall, remember, say } from "./known.js";
import { DiffersError, checkCard, checkReads, findingsHold, headingHolds, namesOf } from "./shown.js";

const KNOWN_KEYS = "goodstrace-log-keys";
const decoder = new TextDecoder();

class UnknownKeyError extends VerificationError {}

/** Checks that statements signed by both keys lead from the key that is remembered of a log to the one that is listed now. */
async function checkSuccession(name, before, vkey) {
  const answer = await fetch(`/logs/${name}/keys`, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${answer.status}`);
  const history = await answer.json();
  try {
    await verifySuccession(before, vkey, history.slice(1).map(({ change }) => canonical(change)));
  } catch (error) {
    throw error instanceof VerificationError ? new UnknownKeyError(`${name}: ${error.message}`) : error;
  }
}

/** What is remembered of a log: by its origin, or, since a browser knows one server here, of another origin with a log of that name. */
function knownOf(known, origin, name) {
  return known[origin] ?? Object.entries(known).find(([other]) => other.endsWith(`/${name}`))?.[1];
}

/**
 * The keys of the logs that are needed, by the server's list: those that this browser has known, or that properly follow from these. Gives {keys, state,
 * keep}; `keep` remembers them, which is for when what they signed has verified. Throws an UnknownKeyError for a key that does not follow.
 */
async function keysOf(logs) {
  const listed = await (await fetch("/logs", { cache: "no-store" })).json();
  const known = recall(KNOWN_KEYS);
  const [keys, seen] = [[], {}];
  let state = "same";
  for (const { name, origin, vkey } of listed.filter((each) => logs.has(each.name))) {
    const before = knownOf(known, origin, name);
    if (before === undefined && state === "same") state = "first";
    if (before !== undefined && before !== vkey) {
      await checkSuccession(name, before, vkey);
      state = "changed";
      keys.push(await readKey(before)); // what it signed before the change counts still
    }
    keys.push(await readKey(vkey));
    seen[origin] = vkey;
  }
  return { keys, state, keep: () => remember(KNOWN_KEYS, { ...recall(KNOWN_KEYS), ...seen }) };
}

/** Compares a browse record with what its card says of it. */
async function checkLook(card, result) {
  const { entry, timeMs, keys } = card.dataset;
  const partKeys = new Map(keys.split(" ").filter(Boolean).map((each) => each.split("=")));
  const parts = {};
  for (const { name, content } of result.sealed.parts) {
    if (isEncrypted(content) && !partKeys.has(name)) continue; // withheld
    const clear = isEncrypted(content) ? await openPart(result.entry.id, name, content, fromHex(partKeys.get(name))) : content;
    parts[name] = JSON.parse(decoder.decode(clear));
  }
  const isSame = entry === result.entry.id && timeMs === String(result.entry.time) && result.entry.kind === "browse";
  const said = [...card.querySelectorAll("[data-of]")].every((element) => {
    const [part, member] = element.dataset.of.split(".");
    return parts[part] === undefined || String(parts[part][member] ?? "") === element.textContent;
  });
  if (!isSame || !said) throw new DiffersError("");
}

function checkName(result) {
  const part = result.sealed.parts.find((each) => each.name === "registration");
  if (part === undefined) throw new DiffersError("");
  const names = Object.values(JSON.parse(decoder.decode(part.content)).content.names ?? {});
  if (!names.includes(document.querySelector("h1").textContent)) throw new DiffersError("");
}

function mark(seal, state, text) {
  seal.dataset.state = state;
  seal.querySelector(".said").textContent = text;
}

/** Puts the result onto one seal; true where it holds. */
async function judge(seal, result, words, names) {
  const texts = seal.dataset;
  if (result === undefined) {
    mark(seal, "bad", texts.missing);
    return false;
  }
  try {
    if (result.error) throw result.error;
    const card = seal.closest(".event, .look");
    if (card?.matches(".look")) await checkLook(card, result);
    else if (card) checkCard(card, result, words, names);
    else checkName(result);
  } catch (error) {
    const isDifferent = error instanceof DiffersError || !(error instanceof VerificationError);
    mark(seal, "bad", isDifferent ? texts.differs : `${texts.bad} ${error.message}`);
    return false;
  }
  mark(seal, "good", texts.good);
  return true;
}

/** Puts onto the seal of reads that are shown as one what holds of them; true where what stands above them is what was sealed. */
function judgeReads(row, byPlace, words, names) {
  const seal = row.querySelector(".seal[data-reads]");
  const seals = [...row.querySelectorAll(".seal[data-place]")];
  if (!seals.every((each) => each.dataset.state === "good")) {
    mark(seal, "bad", seal.dataset.bad);
    return true; // counted by those that are not
  }
  try {
    checkReads(row.querySelector("summary"), seals.map((each) => byPlace.get(each.dataset.place)), words, names);
  } catch {
    mark(seal, "bad", seal.dataset.differs);
    return false;
  }
  mark(seal, "good", seal.dataset.good);
  return true;
}

function listCheckpoints(results) {
  const list = document.getElementById("proof-checkpoints");
  const lines = new Set(results.filter((each) => each.checkpoint).map(({ checkpoint }) => `${checkpoint.origin}: ${checkpoint.size}`));
  list.replaceChildren(...[...lines].map((line) => Object.assign(document.createElement("li"), { textContent: line })));
}

/** Says which of the witnesses that are known here have cosigned every checkpoint that was needed. */
function sayWitnesses(results, count) {
  if (count === 0) return;
  const opened = results.filter((each) => each.checkpoint).map((each) => each.checkpoint.cosigned);
  const names = opened.length ? [...opened[0].keys()].filter((name) => opened.every((cosigned) => cosigned.has(name))) : [];
  const note = document.getElementById("proof-witnesses");
  note.hidden = false;
  say(note, names.length ? note.dataset.some : note.dataset.nobody, { names: names.join(", "), all: count });
}

function decoded({ key, leaf, note, pieces, secret }) {
  return {
    key, note, secret: fromBase64(secret),
    leaf: {
      entry: fromBase64(leaf.entry), index: BigInt(leaf.index), proof: leaf.proof.map(fromBase64),
      parts: leaf.parts.map(({ name, salt, content }) => ({ name, salt: fromBase64(salt), content: fromBase64(content) })),
    },
    pieces: pieces.map(({ first, pages, hashes }) => ({ first, pages: fromBase64(pages), hashes: hashes.map(fromBase64) })),
  };
}

/**
 * Checks that nothing which names the goods is left out: what the log `index` has of the key, up to where both it and the page reach, must be among the
 * entries that verified, or the page says that there are more pages. What came later is shown, and nothing is claimed of it.
 */
async function checkComplete(element, key, results) {
  const texts = element.dataset;
  let answer;
  try {
    answer = await fetch(texts.url, { cache: "no-store" });
    if (!answer.ok) throw new Error(`${answer.status}`);
    const told = decoded(await answer.json());
    if (told.key !== key) throw new VerificationError(`it is of ${told.key}`);
    const known = await keysOf(new Set(["index"]));
    const { leaf, places } = await verifyComplete(told, known.keys);
    known.keep();
    const sizes = new Map(texts.sizes.split(" ").filter(Boolean).map((each) => each.split("=")).map(([log, size]) => [log, BigInt(size)]));
    const reach = leaf.logs.map(({ log, size }) => [log, (sizes.get(log) ?? 0n) < BigInt(size) ? (sizes.get(log) ?? 0n) : BigInt(size)]);
    const upTo = new Map(reach);
    const there = new Map(results.filter((each) => !each.error).map((each) => [`${each.log}[${each.index}]`, each]));
    const covered = places.filter(([log, index]) => index < upTo.get(log)).map(([log, index]) => `${log}[${index}]`);
    const missing = covered.filter((place) => !there.has(place));
    const values = {
      count: covered.length, missing: missing.length, places: missing.slice(0, 5).join(", "), round: leaf.root.size,
      logs: reach.map(([log, size]) => `${log} ${size}`).join(", "),
    };
    if (missing.length > 0) return markComplete(element, texts.part === "1" ? "none" : "bad", texts.part === "1" ? texts.partText : texts.bad, values);
    const withheld = covered.filter((place) => there.get(place).sealed.parts.length === 0).length;
    const newer = [...there.values()].filter((each) => each.entry.kind !== "registration" && each.index >= (upTo.get(each.log) ?? 0n)).length;
    const more = [withheld ? texts.withheld : "", newer ? texts.newer : ""].join("");
    return markComplete(element, "good", `${texts.good}${more}`, { ...values, withheld, newer });
  } catch (error) {
    const isWrong = error instanceof VerificationError;
    return markComplete(element, isWrong ? "bad" : "none", isWrong ? `${texts.wrong} ${error.message}` : texts.away, {});
  }
}

function markComplete(element, state, text, values) {
  element.dataset.state = state;
  say(element.querySelector(".said"), text, values);
}

/** Says that nothing verified, and why. */
function refuse(section, status, seals, error) {
  const texts = status.dataset;
  section.dataset.state = "bad";
  const isWrong = error instanceof VerificationError;
  for (const seal of seals) mark(seal, "bad", isWrong ? `${seal.dataset.bad} ${error.message}` : seal.dataset.missing);
  for (const seal of document.querySelectorAll(".seal[data-reads]")) mark(seal, "bad", seal.dataset.bad);
  if (error instanceof UnknownKeyError) return say(status, `${texts.badKey} {message}`, { message: error.message });
  return say(status, isWrong ? texts.bad : texts.away, { bad: seals.length, all: seals.length });
}

/** What stands above the cards and is not what verified: the texts that say so. */
function faultsAbove(texts, key, results, places, words, names) {
  const heading = document.querySelector("h1[data-key]");
  const faults = heading && !headingHolds(heading, key, names) ? [texts.badName] : [];
  const links = [...document.querySelectorAll("[data-flag]")];
  const listed = words ? findingsHold(links, results.filter((each) => places.has(`${each.log}[${each.index}]`)), words) : links.length === 0;
  return listed ? faults : [...faults, texts.badList];
}

async function check(section) {
  const status = document.getElementById("proof-status");
  const texts = status.dataset;
  const seals = [...document.querySelectorAll(".seal[data-place]")];
  const places = new Set(seals.map((seal) => seal.dataset.place));
  if (!(await canVerify())) return say(status, texts.old);
  say(status, texts.running);
  let [bundle, results, witnesses, known] = [];
  try {
    const answer = await fetch(section.dataset.bundle, { cache: "no-store" });
    if (!answer.ok) throw new Error(`${answer.status}`);
    bundle = parseBundle(await answer.text());
    witnesses = await Promise.all(section.dataset.witnesses.split(" ").filter(Boolean).map(readKey));
    known = await keysOf(new Set(bundle.checkpoints.keys()));
    results = await verifyBundleEntries(bundle, [...known.keys, ...witnesses]);
  } catch (error) {
    return refuse(section, status, seals, error);
  }
  const [words, names] = [JSON.parse(document.querySelector("[data-words]")?.dataset.words ?? "null"), namesOf(results)];
  const byPlace = new Map(results.map((each) => [`${each.log}[${each.index}]`, each]));
  const others = results.filter((each) => each.error && !places.has(`${each.log}[${each.index}]`)).length;
  const judged = await Promise.all(seals.map((seal) => judge(seal, byPlace.get(seal.dataset.place), words, names)));
  const good = judged.filter(Boolean).length;
  const bad = seals.length - good + others;
  const rows = [...document.querySelectorAll(".reads")].map((row) => judgeReads(row, byPlace, words, names));
  const above = faultsAbove(texts, bundle.key, results, places, words, names);
  const faults = rows.every(Boolean) ? above : [...above, texts.badReads];
  if (bad === 0 && faults.length === 0) known.keep();
  listCheckpoints(results);
  const complete = document.getElementById("complete");
  if (complete) await checkComplete(complete, complete.dataset.key, results);
  sayWitnesses(results, witnesses.length);
  if (seals.length === 0 && faults.length === 0) return say(status, texts.empty);
  section.dataset.state = bad || faults.length ? "bad" : "good";
  const count = bad || faults.length === 0 ? filled(bad ? texts.bad : texts.good, { good, bad, all: seals.length + others }) : "";
  status.textContent = [...faults, count].filter(Boolean).join(" ");
  const note = document.getElementById("proof-key");
  note.hidden = false;
  say(note, note.dataset[known.state]);
}

const section = document.getElementById("proof");
if (section) check(section);
