// @ts-check
// What is common to the styles of signatures.

/** Why a webhook is not accepted: missing, malformed, timestamp or mismatch. */
export class WebhookError extends Error {
  /** @param {string} reason @param {string} message */
  constructor(reason, message) {
    super(message);
    this.name = "WebhookError";
    this.reason = reason;
  }
}

/** The bytes of base64, which has one form; undefined: it is none. @param {string} text */
export const base64 = (text) => {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) return undefined;
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
};

/** The values of a header. @param {any} headers @param {string} name @returns {string[]} */
export function values(headers, name) {
  if (typeof headers.get === "function") return [headers.get(name)].filter((v) => v !== null);
  return Object.entries(headers).filter(([k]) => k.toLowerCase() === name.toLowerCase()).flatMap(([, v]) => v).filter((v) => v !== undefined);
}

/** @param {number} seconds @param {number} now @param {number} tolerance */
export function checkTime(seconds, now, tolerance) {
  if (Math.abs(seconds - Math.floor(now)) > tolerance) throw new WebhookError("timestamp", `its time is more than ${tolerance} s from now`);
}
