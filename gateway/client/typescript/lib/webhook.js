// @ts-check
// Verifies webhooks by Standard Webhooks 1.0.0: v1 is HMAC-SHA256, v1a is ed25519.

/** Why a webhook is not accepted: missing, malformed, timestamp or mismatch. */
export class WebhookError extends Error {
  /** @param {string} reason @param {string} message */
  constructor(reason, message) {
    super(message);
    this.name = "WebhookError";
    this.reason = reason;
  }
}

const bytes = (/** @type {string} */ text) => {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) return undefined;
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
};

/**
 * Checks the headers of a request against its body as it was received. secrets are
 * whsec_... and whpk_... that are trusted. It returns the event, and the id that is the
 * same on every repeat: do the work once for each.
 * @param {{secret: string | string[], headers: any, body: string | Uint8Array, tolerance?: number, now?: number}} request
 */
export async function verifyWebhook({ secret, headers, body, tolerance = 300, now = Date.now() / 1000 }) {
  const raw = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const id = values(headers, "webhook-id");
  const stamp = values(headers, "webhook-timestamp");
  const signatures = values(headers, "webhook-signature").join(" ").split(/[ \t\r\n]+/).filter(Boolean);
  if (!id.length || !stamp.length || !signatures.length) throw new WebhookError("missing", "a webhook has webhook-id, webhook-timestamp and webhook-signature");
  if (id.length > 1 || stamp.length > 1 || !/^[A-Za-z0-9_-]{1,256}$/.test(id[0]) || !/^[1-9][0-9]{0,17}$/.test(stamp[0]) || signatures.length > 32) {
    throw new WebhookError("malformed", "one id without dots, one time in Unix seconds, at most 32 signatures");
  }
  if (Math.abs(Number(stamp[0]) - Math.floor(now)) > tolerance) throw new WebhookError("timestamp", `its time is more than ${tolerance} s from now`);
  const content = new Uint8Array([...new TextEncoder().encode(`${id[0]}.${stamp[0]}.`), ...raw]);
  const keys = await Promise.all([secret].flat().map(key));
  for (const one of signatures) {
    const [scheme, text = ""] = one.split(",");
    const signature = bytes(text);
    if (!signature || text === "") continue; // a scheme of somebody else's
    for (const k of keys) {
      if (k.scheme === scheme && (await crypto.subtle.verify(k.algorithm, k.key, signature, content))) {
        return { id: id[0], at: Number(stamp[0]), event: JSON.parse(new TextDecoder().decode(raw)) };
      }
    }
  }
  throw new WebhookError("mismatch", "no signature is of a key that is trusted");
}

/** @param {any} headers @param {string} name @returns {string[]} */
function values(headers, name) {
  if (typeof headers.get === "function") return [headers.get(name)].filter((v) => v !== null);
  return Object.entries(headers).filter(([k]) => k.toLowerCase() === name).flatMap(([, v]) => v).filter((v) => v !== undefined);
}

/** @param {string} text */
async function key(text) {
  const [prefix, algorithm, scheme] = text.startsWith("whpk_") ? ["whpk_", { name: "Ed25519" }, "v1a"] : ["whsec_", { name: "HMAC", hash: "SHA-256" }, "v1"];
  const raw = text.startsWith(prefix) ? bytes(text.slice(prefix.length)) : undefined;
  if (!raw || (scheme === "v1" ? raw.length < 24 || raw.length > 64 : raw.length !== 32)) throw new TypeError("a webhook key is whsec_… (24 to 64 bytes) or whpk_… (32 bytes) in base64");
  return { scheme, algorithm, key: await crypto.subtle.importKey("raw", raw, /** @type {any} */ (algorithm), false, ["verify"]) };
}
