/** A fault that a rule has found, with its place and its fix. */
export interface Finding {
  /** Path from the root of the repository. */
  file: string;
  /** Lines and columns are counted from 1, as in editors. */
  line: number;
  column: number;
  /** Id of the rule, see `validate --explain`. */
  rule: string;
  message: string;
  /** The edit that fixes it. */
  fix: string;
}

/** One line per finding, for a terminal or a failing test. */
export function formatFindings(findings: Finding[]): string {
  return findings
    .map(
      ({ rule, file, line, column, message, fix }) =>
        `${file}:${line}:${column}: ${message}: ${fix} [${rule}]`,
    )
    .join("\n");
}

/** Sorts findings by file and position, and removes duplicates from several clusters. */
export function sortFindings(findings: Finding[]): Finding[] {
  const unique = new Map(findings.map((finding) => [formatFindings([finding]), finding]));
  return [...unique.values()].sort(
    (a, b) =>
      a.file.localeCompare(b.file) ||
      a.line - b.line ||
      a.column - b.column ||
      a.rule.localeCompare(b.rule) ||
      a.message.localeCompare(b.message),
  );
}
