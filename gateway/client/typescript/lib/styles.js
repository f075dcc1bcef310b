// @ts-check
// Verifies what others send by their ways to sign: the styles of the mesh's hooks.
import { WebhookError, base64, checkTime, values } from "./signed.js";

const maxSignatures = 16;
const maxHeader = 8 << 10;
const maxID = 256;
const encoder = new TextEncoder();

/** @type {Record<string, any>} */
const styles = {
  github: { header: "X-Hub-Signature-256", prefix: "sha256=", id: "X-GitHub-Delivery" },
  slack: { header: "X-Slack-Signature", prefix: "v0=", timestamp: "X-Slack-Request-Timestamp", content: "v0:{timestamp}:{body}", id: "/event_id" },
  stripe: { header: "Stripe-Signature", content: "{timestamp}.{body}", id: "/id" },
  hmac: {},
  token: {},
};

/** A style with its defaults. @param {any} style */
function full(style) {
  const v = typeof style === "string" ? { style } : style;
  const known = Object.hasOwn(styles, v?.style ?? "") && styles[v.style];
  if (!known) throw new TypeError(`a style is standard, github, stripe, slack, hmac or token, not ${JSON.stringify(v?.style ?? v)}`);
  const all = { encoding: "hex", algorithm: "sha256", key: "text", content: "{body}", prefix: "", ...v, ...known, ...(v.id && { id: v.id }) };
  if (all.style === "token" && all.username && !all.header) all.header = "Authorization";
  if (!all.header) throw new TypeError(`the style ${all.style} needs header: that of the signature or the token`);
  if (!["hex", "base64"].includes(all.encoding) || !["sha256", "sha512"].includes(all.algorithm) || !["text", "base64"].includes(all.key)) {
    throw new TypeError("encoding is hex or base64, algorithm sha256 or sha512, key text or base64");
  }
  if (!all.content.includes("{body}") || all.style !== "stripe" && all.content.includes("{timestamp}") !== Boolean(all.timestamp)) {
    throw new TypeError("content has {body}, and {timestamp} where timestamp names its header");
  }
  return all;
}

/** @param {any} request */
export async function verifyStyled({ secret, headers, body, style, tolerance, now }) {
  const v = full(style);
  const secrets = [secret].flat();
  for (const s of secrets) {
    if (typeof s !== "string" || s === "" || s !== s.trim()) throw new TypeError("a secret is a text without blanks around it");
  }
  if (secrets.length === 0) throw new WebhookError("mismatch", "there is no secret");
  const raw = typeof body === "string" ? encoder.encode(body) : body;
  const named = v.id && v.id !== "none" && !v.id.startsWith("/");
  const id = named ? deliveryID(one(headers, v.id), v.id) : "";
  const at = v.style === "token" ? void (await token(v, headers, secrets)) : await signed(v, { headers, raw, secrets, id, tolerance, now });
  const event = read(headers, raw);
  return { id: named ? id : idIn(event, v), at, event };
}

/** The value of a header that must be there once. @param {any} headers @param {string} name */
function one(headers, name) {
  const all = values(headers, name);
  if (all.length === 0 || (all.length === 1 && all[0] === "")) throw new WebhookError("missing", `there is no ${name}`);
  if (all.length > 1 || all[0].length > maxHeader) throw new WebhookError("malformed", `${name} is there once, and has at most ${maxHeader} bytes`);
  return all[0];
}

const validID = (/** @type {string} */ id) => id !== "" && encoder.encode(id).length <= maxID && !/[\u0000-\u001f\u007f\ufffd]/.test(id);

/** @param {string} id @param {string} name */
function deliveryID(id, name) {
  if (!validID(id)) throw new WebhookError("malformed", `${name} is no id of 1 to ${maxID} printable characters`);
  return id;
}

/** Compares the signatures with those of each secret; it returns the time that is signed. @param {any} v @param {any} request */
async function signed(v, { headers, raw, secrets, id, tolerance, now }) {
  let text = one(headers, v.header);
  if (!text.startsWith(v.prefix)) throw new WebhookError("malformed", `${v.header} does not begin with ${v.prefix}`);
  text = text.slice(v.prefix.length);
  let signatures = [text];
  let stamp = v.timestamp && one(headers, v.timestamp);
  if (v.style === "stripe") {
    const of = (/** @type {string} */ key) => text.split(",").filter((part) => part.split("=")[0] === key).map((part) => part.slice(key.length + 1));
    const times = of("t");
    signatures = of("v1");
    if (times.length !== 1 || signatures.length === 0) throw new WebhookError("malformed", `${v.header} has one t and at least one v1`);
    stamp = times[0];
  }
  if (stamp !== undefined) {
    if (!/^[1-9][0-9]{0,17}$/.test(stamp)) throw new WebhookError("malformed", "the time is no number of seconds since 1970");
    checkTime(Number(stamp), now, tolerance);
  }
  if (signatures.length > maxSignatures) throw new WebhookError("malformed", `there are at most ${maxSignatures} signatures`);
  const content = fill(v.content, { "{id}": encoder.encode(id), "{timestamp}": encoder.encode(stamp ?? ""), "{body}": raw });
  let good = false;
  for (const secret of secrets) {
    const key = await hmacKey(v, secret);
    for (const sent of signatures.map((s) => decode(v, s))) good = (sent && (await crypto.subtle.verify("HMAC", key, sent, content))) || good;
  }
  if (!good) throw new WebhookError("mismatch", "no signature is of a secret that is trusted");
  return stamp === undefined ? undefined : Number(stamp);
}

/** @param {string} template @param {Record<string, Uint8Array>} of */
function fill(template, of) {
  const parts = template.split(/(\{id\}|\{timestamp\}|\{body\})/).map((part) => of[part] ?? encoder.encode(part));
  const all = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** @param {any} v @param {string} secret */
function hmacKey(v, secret) {
  const raw = v.key === "base64" ? base64(secret) : encoder.encode(secret);
  if (!raw?.length) throw new TypeError("a secret is base64, as key says");
  return crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: v.algorithm === "sha512" ? "SHA-512" : "SHA-256" }, false, ["verify"]);
}

/** @param {any} v @param {string} text */
function decode(v, text) {
  if (v.encoding === "base64") return base64(text);
  if (!/^([0-9a-fA-F]{2})+$/.test(text)) return undefined;
  return Uint8Array.from(/** @type {string[]} */ (text.match(/../g)), (b) => parseInt(b, 16));
}

/** A shared text: both sides are hashed first, so that their lengths do not show. @param {any} v @param {any} headers @param {string[]} secrets */
async function token(v, headers, secrets) {
  const hash = async (/** @type {string} */ text) => new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(text)));
  const sent = await hash(one(headers, v.header));
  let good = false;
  for (const secret of secrets) {
    const basic = () => "Basic " + btoa(String.fromCharCode(...encoder.encode(`${v.username}:${secret}`)));
    const want = await hash(v.username ? basic() : v.prefix + secret);
    good = want.reduce((differs, b, i) => differs | (b ^ sent[i]), 0) === 0 || good;
  }
  if (!good) throw new WebhookError("mismatch", "the token is another one");
}

/** The body as JSON: a form is an object of its fields, another text a string. @param {any} headers @param {Uint8Array} raw */
function read(headers, raw) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(raw);
  } catch {
    throw new WebhookError("malformed", "the body is no UTF-8");
  }
  if (!/^\s*application\/x-www-form-urlencoded\s*(;|$)/i.test(values(headers, "content-type")[0] ?? "")) {
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }
  if (/%(?![0-9a-fA-F]{2})|;/.test(text)) throw new WebhookError("malformed", "the body is no form");
  const fields = new URLSearchParams(text);
  const names = [...new Set(fields.keys())];
  if (names.length === 1 && names[0] === "payload" && fields.getAll("payload").length === 1) {
    try {
      return JSON.parse(/** @type {string} */ (fields.get("payload")));
    } catch {}
  }
  return Object.fromEntries(names.map((name) => [name, fields.getAll(name).length > 1 ? fields.getAll(name) : fields.get(name)]));
}

/** The id that is in a body; empty: there is none. @param {any} event @param {any} v */
function idIn(event, v) {
  const at = (/** @type {string} */ pointer) => {
    let value = event;
    for (const part of pointer.slice(1).split("/").map((p) => p.replaceAll("~1", "/").replaceAll("~0", "~"))) {
      if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return "";
      value = value[part];
    }
    const text = ["string", "number", "boolean"].includes(typeof value) ? String(value) : "";
    return validID(text) ? text : "";
  };
  if (!v.id?.startsWith("/")) return "";
  return at(v.id) || (v.style === "slack" ? at("/trigger_id") : "");
}
