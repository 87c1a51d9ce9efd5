/** Command lines that people copy: what a shell would take apart is quoted. */

/** One argument as a POSIX shell reads it back. */
export const quoted = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
