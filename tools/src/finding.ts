/** Something a rule found wrong, and what puts it right. */
export interface Finding {
  rule: string;
  /** A file with its line, or an object with the path of its field. */
  where: string;
  message: string;
}

/** One line per finding, for a terminal or a failing test. */
export function formatFindings(findings: Finding[]): string {
  return findings.map(({ rule, where, message }) => `${where}: ${message} [${rule}]`).join("\n");
}
