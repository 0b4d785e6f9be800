// What services, workers, labels and other named things may be called.

const namePattern = /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/;

/** Letters, digits, "_" and "-", beginning with a letter or digit, 128 at most. */
export const isName = (text: string): boolean => namePattern.test(text);
