// Solves a challenge of the sign-in: SHA-256 over its text and a counter (8 bytes, big endian) must begin with so many zero bits. A worker: the page
// stays usable. Tells how many were tried, then the counter.
const AT_ONCE = 2048;

onmessage = async ({ data: { challenge, bits } }) => {
  const text = new TextEncoder().encode(challenge);
  for (let start = 0; ; start += AT_ONCE) {
    const digests = await Promise.all(
      Array.from({ length: AT_ONCE }, (_, place) => {
        const message = new Uint8Array(text.length + 8);
        message.set(text);
        new DataView(message.buffer).setBigUint64(text.length, BigInt(start + place));
        return crypto.subtle.digest("SHA-256", message);
      }),
    );
    const found = digests.findIndex((digest) => isSolved(new DataView(digest), bits));
    if (found >= 0) return postMessage({ counter: start + found });
    postMessage({ tried: start + AT_ONCE });
  }
};

function isSolved(digest, bits) {
  let left = bits;
  for (let at = 0; left > 0; at += 4, left -= 32) {
    if (Math.clz32(digest.getUint32(at)) < Math.min(left, 32)) return false;
  }
  return true;
}
