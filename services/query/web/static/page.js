// Checks in the browser what a page shows: fetches the proof bundle, verifies every entry by verify.js, and compares what was verified with
// what stands on the page. Green is only what verified here. Without this script the page is whole, and says that nothing was checked.
import { VerificationError, fromBase64, fromHex, isEncrypted, openPart, parseBundle, readKey, verifyBundleEntries, verifyComplete } from "./verify.js";
import { canVerify, recall, remember, say } from "./known.js";

const KNOWN_KEYS = "goodstrace-log-keys";
const SHOWN_CHARS = 20000;
const decoder = new TextDecoder();

class DiffersError extends VerificationError {}

/** The keys of the logs that are needed, by the server's list; those that this browser has known count more. */
async function keysOf(logs) {
  const listed = await (await fetch("/logs", { cache: "no-store" })).json();
  const needed = listed.filter((each) => logs.has(each.name));
  const known = recall(KNOWN_KEYS);
  let state = "same";
  const keys = [];
  for (const { origin, vkey } of needed) {
    if (known[origin] === undefined) {
      state = state === "same" ? "first" : state;
      known[origin] = vkey;
    } else if (known[origin] !== vkey) {
      state = "other";
    }
    keys.push(await readKey(known[origin] === vkey ? vkey : known[origin]));
    if (known[origin] !== vkey) keys.push(await readKey(vkey));
  }
  if (state === "first") remember(KNOWN_KEYS, known);
  return { keys, state };
}

/** What the verified facts say, in the form in which the page states it. */
function factsOf(result) {
  const part = result.sealed.parts.find((each) => each.name === "facts");
  return part === undefined ? null : JSON.parse(decoder.decode(part.content));
}

function checkShown(card, result) {
  const { entry, merchant, timeUs, step, at, whole } = card.dataset;
  const isSame = entry === result.entry.id && merchant === String(result.entry.merchant);
  const facts = factsOf(result);
  if (!isSame || (whole === "1") !== (facts !== null)) throw new DiffersError("");
  if (facts === null) return;
  const shown = [timeUs, step, at];
  const sealed = [String(facts.time_us), facts.business_step ?? "", facts.business_location ?? facts.read_point ?? ""];
  if (shown.some((value, place) => value !== sealed[place])) throw new DiffersError("");
  checkExact(card, result);
}

function checkExact(card, result) {
  const exact = card.querySelector(".exact");
  const part = result.sealed.parts.find((each) => each.name === "event");
  if (exact === null || part === undefined) return;
  const sealed = decoder.decode(part.content);
  const isSame = sealed.startsWith(exact.textContent) && exact.textContent.length >= Math.min(SHOWN_CHARS / 2, sealed.length);
  if (!isSame) throw new DiffersError("");
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
async function judge(seal, result) {
  const texts = seal.dataset;
  if (result === undefined) {
    mark(seal, "bad", texts.missing);
    return false;
  }
  try {
    if (result.error) throw result.error;
    const card = seal.closest(".event, .look");
    if (card?.matches(".look")) await checkLook(card, result);
    else if (card) checkShown(card, result);
    else checkName(result);
  } catch (error) {
    const isDifferent = error instanceof DiffersError || !(error instanceof VerificationError);
    mark(seal, "bad", isDifferent ? texts.differs : `${texts.bad} ${error.message}`);
    return false;
  }
  mark(seal, "good", texts.good);
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
    const newer = [...there.values()].filter((each) => each.index >= (upTo.get(each.log) ?? 0n)).length;
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

async function check(section) {
  const status = document.getElementById("proof-status");
  const texts = status.dataset;
  const seals = [...document.querySelectorAll(".seal[data-place]")];
  if (!(await canVerify())) return say(status, texts.old);
  say(status, texts.running);
  let results;
  let witnesses;
  let known;
  try {
    const answer = await fetch(section.dataset.bundle, { cache: "no-store" });
    if (!answer.ok) throw new Error(`${answer.status}`);
    const bundle = parseBundle(await answer.text());
    witnesses = await Promise.all(section.dataset.witnesses.split(" ").filter(Boolean).map(readKey));
    known = await keysOf(new Set(bundle.checkpoints.keys()));
    results = await verifyBundleEntries(bundle, [...known.keys, ...witnesses]);
  } catch (error) {
    section.dataset.state = "bad";
    for (const seal of seals) mark(seal, "bad", error instanceof VerificationError ? `${seal.dataset.bad} ${error.message}` : seal.dataset.missing);
    return say(status, error instanceof VerificationError ? texts.bad : texts.away, { bad: seals.length, all: seals.length });
  }
  const byPlace = new Map(results.map((each) => [`${each.log}[${each.index}]`, each]));
  const others = results.filter((each) => each.error && !seals.some((seal) => seal.dataset.place === `${each.log}[${each.index}]`)).length;
  const judged = await Promise.all(seals.map((seal) => judge(seal, byPlace.get(seal.dataset.place))));
  const good = judged.filter(Boolean).length;
  const bad = seals.length - good + others;
  listCheckpoints(results);
  const complete = document.getElementById("complete");
  if (complete) await checkComplete(complete, complete.dataset.key, results);
  sayWitnesses(results, witnesses.length);
  if (seals.length === 0) return say(status, texts.empty);
  section.dataset.state = bad ? "bad" : "good";
  say(status, bad ? texts.bad : texts.good, { good, bad, all: seals.length + others });
  const note = document.getElementById("proof-key");
  note.hidden = false;
  say(note, note.dataset[known.state]);
}

const section = document.getElementById("proof");
if (section) check(section);
