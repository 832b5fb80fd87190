// What scripts of the pages share: whether this browser can verify, and what it remembers of logs.

const MAX_KNOWN = 500;

/** A text with its {placeholders} filled; one that there is no value for stays. */
export function filled(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? String(values[name]) : whole));
}

export function say(element, text, values = {}) {
  element.textContent = filled(text, values);
}

export async function canVerify() {
  try {
    await crypto.subtle.importKey("raw", new Uint8Array(32).fill(1), { name: "Ed25519" }, false, ["verify"]);
    return true;
  } catch {
    return false;
  }
}

/** What is remembered under a name, by origin of a log. */
export function recall(name) {
  try {
    const known = JSON.parse(localStorage.getItem(name) ?? "{}");
    return typeof known === "object" && known !== null ? known : {};
  } catch {
    return {};
  }
}

export function remember(name, known) {
  try {
    if (Object.keys(known).length <= MAX_KNOWN) localStorage.setItem(name, JSON.stringify(known));
  } catch {
    // private windows keep nothing: what is seen is seen for the first time again
  }
}
