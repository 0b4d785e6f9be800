// The media type of bytes that came without one.

/** Larger bodies are not parsed just to name their type. */
const largestLookedAt = 16 * 1024 * 1024;

/** JSON, text, or just bytes. Only looked at; what is sent is what was given. */
export function mediaTypeOf(body: Uint8Array): string {
  if (body.length > largestLookedAt) return 'application/octet-stream';
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    return 'application/octet-stream';
  }
  try {
    JSON.parse(text);
    return 'application/json';
  } catch {
    return 'text/plain; charset=utf-8';
  }
}
