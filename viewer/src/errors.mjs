/** A file that cannot be shown, for a reason of one line. */
export class FileError extends Error {}

/** Throw a FileError with the message unless the condition holds. */
export function need(condition, message) {
  if (!condition) throw new FileError(message);
}
