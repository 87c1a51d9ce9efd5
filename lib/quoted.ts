/** Quotes arguments of command lines that people copy into a shell. */

/** One argument as a POSIX shell reads it back. */
export const quoted = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
