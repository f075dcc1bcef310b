// @ts-check
// Verifies webhooks by Standard Webhooks 1.0.0: v1 is HMAC-SHA256, v1a is ed25519.
import { WebhookError, base64, checkTime, values } from "./signed.js";
import { verifyStyled } from "./styles.js";

/**
 * Checks the headers of a request against its body as it was received. secrets are
 * whsec_... and whpk_... that are trusted, or those of another style. It returns the
 * event, and the id that is the same on every repeat: do the work once for each.
 * @param {{secret: string | string[], headers: any, body: string | Uint8Array, style?: any, tolerance?: number, now?: number}} request
 */
export async function verifyWebhook({ secret, headers, body, style = "standard", tolerance = 300, now = Date.now() / 1000 }) {
  if ((style.style ?? style) !== "standard") return verifyStyled({ secret, headers, body, style, tolerance, now });
  const raw = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const id = values(headers, "webhook-id");
  const stamp = values(headers, "webhook-timestamp");
  const signatures = values(headers, "webhook-signature").join(" ").split(/[ \t\r\n]+/).filter(Boolean);
  if (!id.length || !stamp.length || !signatures.length) throw new WebhookError("missing", "a webhook has webhook-id, webhook-timestamp and webhook-signature");
  if (id.length > 1 || stamp.length > 1 || !/^[A-Za-z0-9_-]{1,256}$/.test(id[0]) || !/^[1-9][0-9]{0,17}$/.test(stamp[0]) || signatures.length > 32) {
    throw new WebhookError("malformed", "one id without dots, one time in Unix seconds, at most 32 signatures");
  }
  checkTime(Number(stamp[0]), now, tolerance);
  const content = new Uint8Array([...new TextEncoder().encode(`${id[0]}.${stamp[0]}.`), ...raw]);
  const keys = await Promise.all([secret].flat().map(key));
  for (const one of signatures) {
    const [scheme, text = ""] = one.split(",");
    const signature = base64(text);
    if (!signature || text === "") continue; // a scheme of somebody else's
    for (const k of keys) {
      if (k.scheme === scheme && (await crypto.subtle.verify(k.algorithm, k.key, signature, content))) {
        return { id: id[0], at: Number(stamp[0]), event: JSON.parse(new TextDecoder().decode(raw)) };
      }
    }
  }
  throw new WebhookError("mismatch", "no signature is of a key that is trusted");
}

/** @param {string} text */
async function key(text) {
  const [prefix, algorithm, scheme] = text.startsWith("whpk_") ? ["whpk_", { name: "Ed25519" }, "v1a"] : ["whsec_", { name: "HMAC", hash: "SHA-256" }, "v1"];
  const raw = text.startsWith(prefix) ? base64(text.slice(prefix.length)) : undefined;
  if (!raw || (scheme === "v1" ? raw.length < 24 || raw.length > 64 : raw.length !== 32)) throw new TypeError("a webhook key is whsec_… (24 to 64 bytes) or whpk_… (32 bytes) in base64");
  return { scheme, algorithm, key: await crypto.subtle.importKey("raw", raw, /** @type {any} */ (algorithm), false, ["verify"]) };
}
