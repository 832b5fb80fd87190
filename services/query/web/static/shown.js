// What a card of an event must say, by the verified parts of its record, and whether the text that stands there for people says that.
// Each text of a card is in an element that says by `data-says` what it renders; any other text, one too many or one too few is a difference.
// It renders as the server does (rendering.py, verdicts.py, sensors.py, asking.py); tests/interop holds the two to each other.
import { VerificationError } from "./verify.js";
import { filled } from "./known.js";

export class DiffersError extends VerificationError {}

const EARLIEST_US = Date.parse("0002-01-01T00:00:00Z") * 1000;
const LATEST_US = Date.parse("9998-01-01T00:00:00Z") * 1000;
const GOODS = ["epc", "lot", "class", "child", "parent", "input", "output"];
const UNTOLD = new Set(["normalised-vocabulary"]);
const UNITS = { CEL: "°C", FAH: "°F", KEL: "K", P1: "%", A93: "g/m³", PAL: "Pa" };
const READINGS_SHOWN = 4;
const KEYS_SHOWN = 50;
const FINDINGS_SHOWN = 200;
const TEXT_CHARS = 20000;
const READ_GAP_US = 60000000;
const SAME_OF_READS = [
  "type", "action", "step", "business_step", "disposition", "read_point", "business_location", "keys", "quantities", "transactions", "sources",
  "destinations", "flags",
];
const GS1 = "https://id.gs1.org/";
const decoder = new TextDecoder();

function plain(text) {
  return text.replace(/\s+/g, " ").trim();
}

function partOf(result, name) {
  const part = result.sealed.parts.find((each) => each.name === name);
  return part === undefined ? null : decoder.decode(part.content);
}

/** What the verified facts of a record say; null where they are withheld or erased. */
export function factsOf(result) {
  const text = partOf(result, "facts");
  return text === null ? null : JSON.parse(text);
}

// ---- as the server writes it

function shift(offset) {
  const found = /^([+-])([0-9]{2}):([0-9]{2})/.exec(offset);
  return found === null ? 0 : (found[1] === "-" ? -1 : 1) * (Number(found[2]) * 60 + Number(found[3])) * 60000;
}

export function moment(words, timeUs, offset = "+00:00", seconds = false) {
  const bounded = Math.min(Math.max(timeUs, EARLIEST_US), LATEST_US);
  const at = new Date(Math.floor(bounded / 1000) + shift(offset));
  const two = (number) => String(number).padStart(2, "0");
  return filled(words["time.moment"], {
    day: at.getUTCDate(),
    month: words["time.months"].split(",")[at.getUTCMonth()],
    year: at.getUTCFullYear(),
    clock: [at.getUTCHours(), at.getUTCMinutes(), ...(seconds ? [at.getUTCSeconds()] : [])].map(two).join(":"),
    zone: ["+00:00", "-00:00", "Z", ""].includes(offset) ? "UTC" : offset.slice(0, 6),
  });
}

function unquoted(text) {
  return text.replace(/(%[0-9A-Fa-f]{2})+/g, (run) => decoder.decode(Uint8Array.from(run.slice(1).split("%"), (pair) => Number.parseInt(pair, 16))));
}

/** A key as people know it: `(01) 09521231054321 (21) 1` for a GS1 key, else as it is. */
export function spoken(key) {
  if (!key.startsWith(GS1)) return key;
  const segments = key.slice(GS1.length).split("/");
  const pairs = [];
  for (let at = 0; at + 1 < segments.length; at += 2) pairs.push(`(${segments[at]}) ${unquoted(segments[at + 1])}`);
  return pairs.join(" ");
}

/** A verdict's sentence: sealed in English, told by the sentence of the catalogue where it is a rule of the program. */
function detailOf(words, { rule, detail = "" }) {
  const [english, own] = [words[`sealed.rule.${rule}`], words[`rule.${rule}`]];
  if (english === undefined || own === undefined) return detail;
  const pieces = english.split(/\{(\w+)\}/);
  const pattern = pieces.map((piece, place) => (place % 2 ? "([^]*?)" : piece.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))).join("");
  const found = new RegExp(`^${pattern}$`).exec(detail);
  if (found === null) return detail;
  return filled(own, Object.fromEntries(pieces.filter((_, place) => place % 2).map((name, place) => [name, found[place + 1]])));
}

export function toldVerdict(words, verdict) {
  const severity = words[`merchant.severity.${verdict.severity}`];
  const isOwn = verdict.rule.includes(".");
  const rule = isOwn ? verdict.rule : words[`merchant.flag.${verdict.rule}`];
  const detail = (isOwn ? verdict.detail : detailOf(words, verdict)) || "?";
  const line = filled(words[isOwn ? "verdict.own" : "verdict.line"], { severity, rule, detail });
  const goods = (verdict.registered ?? []).map(spoken).join(", ");
  return plain(goods ? filled(words["verdict.registered"], { line, goods }) : line);
}

function dictsOf(value) {
  return Array.isArray(value) ? value.filter((each) => typeof each === "object" && each !== null && !Array.isArray(each)) : [];
}

function cut(text, most) {
  return Array.from(text).slice(0, most).join("");
}

export function readingsOf(event) {
  const readings = [];
  for (const element of dictsOf(event.sensorElementList)) {
    for (const report of dictsOf(element.sensorReport)) {
      const values = [report.value, report.minValue, report.maxValue, report.meanValue];
      const numbers = values.filter((each) => typeof each === "number" && Math.abs(each) < 1e12);
      if (numbers.length === 0) continue;
      const type = String(report.type ?? "");
      const kind = cut(type.slice(type.lastIndexOf(":") + 1), 60) || "?";
      readings.push({ kind, unit: cut(String(report.uom ?? ""), 10), least: Math.min(...numbers), greatest: Math.max(...numbers) });
    }
  }
  return readings;
}

// ---- names, by the registrations that verified

/** Names by key: those of registered goods and places in all languages, the one of a merchant. */
export function namesOf(results) {
  const names = new Map();
  for (const result of results) {
    const text = result.error || result.entry.kind !== "registration" ? null : partOf(result, "registration");
    if (text === null) continue;
    const { key, what, content } = JSON.parse(text);
    const said = what === "merchant" ? [content.name] : Object.values(content.names ?? {});
    names.set(key, [...(names.get(key) ?? []), ...said.filter((each) => typeof each === "string" && each !== "").map(plain)]);
  }
  return names;
}

/** The text must be a registered name of the key, or the key itself. */
function isNamed(text, key, names) {
  return (names.get(key) ?? []).includes(text) || text === plain(spoken(key));
}

// ---- what a card says

function ifSame(wanted) {
  return (text) => text === plain(wanted);
}

function isGoods(key, names) {
  const code = plain(spoken(key));
  return (text) => text === code || (names.get(key) ?? []).some((name) => text === `${name} ${code}`);
}

function isReading(words, reading) {
  const unit = UNITS[reading.unit] ?? reading.unit;
  return (text) => {
    const [before, after] = [plain(`${words[`sensor.${reading.kind}`]}:`), plain(unit)];
    if (!text.startsWith(before) || !text.endsWith(after)) return false;
    const values = plain(text.slice(before.length, text.length - after.length)).split(" – ");
    const [least, greatest] = [Number(values[0]), Number(values[values.length - 1])];
    const isOne = reading.least === reading.greatest;
    return values.every((each) => each !== "") && values.length === (isOne ? 1 : 2) && least === reading.least && greatest === reading.greatest;
  };
}

function sensorsOf(words, result) {
  const text = partOf(result, "event");
  if (text === null) return [];
  // What came as XML is not read here, and says so.
  if (text.startsWith("<")) return null;
  return readingsOf(JSON.parse(text)).slice(0, READINGS_SHOWN).map((each) => isReading(words, each));
}

function isExact(result) {
  const text = partOf(result, "event");
  return (shown) => {
    const sealed = (text ?? "").replace(/\r\n?/g, "\n");
    return sealed.startsWith(shown) && shown.length >= Math.min(TEXT_CHARS / 2, sealed.length);
  };
}

function stepOf(words, facts) {
  const step = facts === null ? "" : (facts.business_step ?? "").split(/[:/#]/).pop() || facts.step || "";
  return step ? words[`did.${step}`] : words["timeline.event"];
}

/** For each kind of claim what must stand there, in order: tests of the text. `facts` are null where they are withheld. */
function claims(words, names, result, facts) {
  const { entry, log, index } = result;
  const merchants = [...(names.get(`urn:goodstrace:merchant:${entry.merchant}`) ?? []), filled(words["face.merchant"], { number: entry.merchant })];
  return {
    step: [ifSame(stepOf(words, facts))],
    merchant: [(text) => merchants.some((name) => text === plain(filled(words["timeline.said_by"], { name })))],
    where: [ifSame(`${log}[${index}] · ${entry.id}`)],
    recorded: [ifSame(filled(words["seal.recorded"], { when: moment(words, entry.time * 1000) }))],
    hidden: facts === null ? [ifSame(words["timeline.hidden"])] : [],
    ...(facts === null ? NO_FACTS : claimsOfFacts(words, names, facts)),
  };
}

const NO_FACTS = { time: [], place: [], flag: [], verdict: [], role: [], key: [] };

function claimsOfFacts(words, names, facts) {
  const place = facts.business_location || facts.read_point || "";
  const keys = GOODS.map((role) => [role, (facts.keys?.[role] ?? []).slice(0, KEYS_SHOWN)]).filter(([, found]) => found.length);
  return {
    time: [ifSame(moment(words, facts.time_us, facts.offset))],
    place: place ? [(text) => isNamed(text, place, names)] : [],
    flag: (facts.flags ?? []).filter((each) => !UNTOLD.has(each)).map((each) => ifSame(words[`mark.${each}`])),
    verdict: (facts.verdicts ?? []).map((each) => ifSame(toldVerdict(words, each))),
    role: keys.map(([role]) => ifSame(words[`role.${role}`])),
    key: keys.flatMap(([, found]) => found.map((key) => isGoods(key, names))),
  };
}

/** Texts that follow from other events, or from none: what they say is not checked, but they say nothing else than the catalogue has. */
function isDerived(words, names, element, text) {
  const { says, key } = element.dataset;
  if (says === "label") return ["timeline.details", "timeline.exact", "timeline.inside", "seal.where", "trace.possible"].some((name) => text === plain(words[name]));
  if (says === "mark") return Object.keys(words).some((name) => name.startsWith("mark.") && text === plain(words[name]));
  if (says === "box") return isNamed(text, key, names);
  if (says === "also") return text.replace(/[0-9]+/, "{count}") === plain(words["seal.also"]);
  return false;
}

function check(holds) {
  if (!holds) throw new DiffersError("");
}

/** Checks that no text of a card stands outside of what is compared. */
function checkNothingElse(card) {
  const walker = document.createTreeWalker(card, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { parentElement, data } = walker.currentNode;
    check(/^[\s·›]*$/.test(data) || parentElement.closest("[data-says], .seal") !== null);
  }
}

/** Compares the card of an event with what verified of its record; `words` are those of the page, `names` those of `namesOf`. */
export function checkCard(card, result, words, names) {
  const { entry, merchant, whole } = card.dataset;
  const facts = factsOf(result);
  check(entry === result.entry.id && merchant === String(result.entry.merchant) && (whole === "1") === (facts !== null));
  checkNothingElse(card);
  const wanted = claims(words, names, result, facts);
  const readings = facts === null ? [] : sensorsOf(words, result);
  checkTexts(card, readings === null ? wanted : { ...wanted, reading: readings }, (element) => {
    const { says } = element.dataset;
    if (says === "exact") return isExact(result)(element.textContent);
    if (says === "reading") return plain(element.textContent).endsWith(plain(words["sensor.unchecked"]));
    return isDerived(words, names, element, plain(element.textContent));
  });
}

/** Compares the texts within an element with the tests of what must stand there, by kind; a text of another kind must pass `isOther`. */
function checkTexts(within, tests, isOther) {
  const shown = new Map();
  for (const element of within.querySelectorAll("[data-says]")) {
    const { says } = element.dataset;
    if (tests[says] === undefined) check(isOther(element));
    else shown.set(says, [...(shown.get(says) ?? []), plain(element.textContent)]);
  }
  for (const [kind, list] of Object.entries(tests)) {
    const texts = shown.get(kind) ?? [];
    check(texts.length === list.length && list.every((test, place) => test(texts[place])));
  }
}

/** Whether an event is a read, as `goodstrace.read_runs.is_read`: things were seen, and it neither corrects nor reports of a sensor. */
function isRead({ type, action, correction, sensor_reports }) {
  return type === "ObjectEvent" && action === "OBSERVE" && !correction && !sensor_reports;
}

/** What reads must have in common to be shown as one, as `goodstrace.read_runs` has it: all that a row says of them but their times. */
function sameOfReads({ entry }, facts) {
  const verdicts = (facts.verdicts ?? []).map(({ rule }) => rule);
  return JSON.stringify([entry.merchant, ...SAME_OF_READS.map((name) => facts[name]), verdicts]);
}

/** Whether events, in the order of their times, are one run of reads: each the same as the first, within a minute of the one before, and one known to repeat. */
function isRun(results, facts) {
  const [first, others] = [sameOfReads(results[0], facts[0]), facts.slice(1)];
  const gaps = others.map((each, place) => each.time_us - facts[place].time_us);
  const isSame = facts.every((each, place) => isRead(each) && sameOfReads(results[place], each) === first);
  return others.length > 0 && isSame && gaps.every((gap) => gap >= 0 && gap <= READ_GAP_US) && facts.some(({ repeats }) => repeats);
}

/** Compares what stands above reads that are shown as one with what verified of them; `results` are theirs, in their order. */
export function checkReads(summary, results, words, names) {
  const facts = results.map(factsOf);
  check(facts.every((each) => each !== null) && isRun(results, facts));
  const [first, last] = [facts[0], facts[facts.length - 1]];
  checkNothingElse(summary);
  const [from, to] = [first, last].map((each) => moment(words, each.time_us, each.offset, true));
  const { place, flag, verdict } = claimsOfFacts(words, names, first);
  const tests = {
    step: [ifSame(stepOf(words, first))],
    reads: [ifSame(filled(words["timeline.reads"], { count: facts.length, first: from, last: to }))],
    all: [ifSame(filled(words["timeline.reads_all"], { count: facts.length }))],
    place, flag, verdict,
  };
  checkTexts(summary, tests, (element) => isDerived(words, names, element, plain(element.textContent)));
}

// ---- what stands above the cards

function isSameProduct(one, other) {
  const product = /^https:\/\/id\.gs1\.org\/01\/[0-9]{14}/;
  return one === other || (product.test(one) && product.exec(one)[0] === product.exec(other)?.[0]);
}

/** Whether the heading is that of a trace of `key`: a registered name of the goods, of their lot or of their product, or the key; below it, the key. */
export function headingHolds(heading, key, names) {
  const text = plain(heading.textContent);
  const registered = [...names].filter(([of]) => isSameProduct(of, key)).flatMap(([, said]) => said);
  const code = heading.parentElement.querySelector(".code");
  const isSame = heading.dataset.key === key && plain(code.textContent) === plain(spoken(key));
  return isSame && (text === plain(spoken(key)) || registered.includes(text));
}

/** Whether the list of what rules found is all that is sealed of the events of the page, and nothing else. */
export function findingsHold(links, results, words) {
  const wanted = new Map();
  for (const result of results) {
    const facts = result.error ? null : factsOf(result);
    for (const each of facts?.verdicts ?? []) {
      const line = `${result.log}[${result.index}] ${toldVerdict(words, each)}`;
      wanted.set(line, (wanted.get(line) ?? 0) + 1);
    }
  }
  const count = [...wanted.values()].reduce((sum, each) => sum + each, 0);
  const isSame = links.every((link) => {
    const line = `${link.dataset.flag} ${plain(link.textContent)}`;
    const left = wanted.get(line) ?? 0;
    wanted.set(line, left - 1);
    return left > 0;
  });
  return isSame && links.length === Math.min(count, FINDINGS_SHOWN);
}
