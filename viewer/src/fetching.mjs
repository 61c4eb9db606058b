import { FileError, need } from "./errors.mjs";
import { LIMITS } from "./limits.mjs";

/** Bytes at a URL, no more than the limit of a file. */
export async function readUrl(url) {
  let response;
  try {
    response = await fetch(url);
  } catch {
    throw new FileError("cannot be fetched: the server, or the browser, does not allow it");
  }
  need(response.ok, `cannot be fetched: status ${response.status}`);
  const parts = [];
  let size = 0;
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    size += part.value.length;
    if (size > LIMITS.fileBytes) reader.cancel();
    need(size <= LIMITS.fileBytes, `file exceeds the limit of ${LIMITS.fileBytes} bytes`);
  }
  return new Blob(parts).arrayBuffer();
}
