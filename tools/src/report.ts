/** Findings in the forms that people and machines read. */
import type { Finding } from "./finding.ts";
import { rules } from "./rules/index.ts";
import type { Validation } from "./validate.ts";

/** The forms that `--format` takes. */
export const formats = ["people", "json", "sarif", "github"] as const;
export type Format = (typeof formats)[number];

/** Writes a validation in one of the forms, with its final newline. */
export function report(validation: Validation, format: Format): string {
  switch (format) {
    case "json":
      return `${JSON.stringify(validation, undefined, 2)}\n`;
    case "sarif":
      return `${JSON.stringify(sarif(validation.findings), undefined, 2)}\n`;
    case "github":
      return validation.findings.map(annotation).join("");
    default:
      return people(validation);
  }
}

function people({ findings, clusters, overlays, applications, objects, skipped }: Validation): string {
  const lines = findings.map(
    ({ file, line, column, rule, message, fix }) =>
      `${file}:${line}:${column}: ${message} [${rule}]\n    fix: ${fix}\n`,
  );
  const notes = skipped.map((text) => `not looked at: ${text}\n`);
  const amount = (count: number, word: string): string => `${count} ${word}${count === 1 ? "" : "s"}`;
  const scope = `${amount(objects, "object")} of ${amount(applications, "Application")} on ${clusters.join(", ") || "no cluster"}${
    overlays.length > 0 ? `, and in ${amount(overlays.length, "overlay")} that no cluster has` : ""
  }`;
  const next = findings[0] ? `\nnext: npm run validate -- --explain ${findings[0].rule}` : "";
  return `${lines.join("")}${notes.join("")}${amount(findings.length, "finding")} in ${scope}${next}\n`;
}

// https://docs.github.com/actions/reference/workflow-commands-for-github-actions
function annotation({ file, line, column, rule, message, fix }: Finding): string {
  const data = (text: string): string =>
    text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
  const property = (text: string): string => data(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
  const place = `file=${property(file)},line=${line},col=${column},title=${property(rule)}`;
  return `::error ${place}::${data(`${message}: ${fix}`)}\n`;
}

// https://docs.oasis-open.org/sarif/sarif/v2.1.0/
function sarif(findings: Finding[]): object {
  return {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: {
          driver: {
            name: "gitops validate",
            rules: rules.map(({ id, summary, explanation }) => ({
              id,
              shortDescription: { text: summary },
              fullDescription: { text: explanation },
            })),
          },
        },
        columnKind: "utf16CodeUnits",
        results: findings.map(({ file, line, column, rule, message, fix }) => ({
          ruleId: rule,
          ruleIndex: rules.findIndex(({ id }) => id === rule),
          level: "error",
          message: { text: `${message}: ${fix}` },
          locations: [
            {
              physicalLocation: {
                artifactLocation: {
                  uri: file.split("/").map(encodeURIComponent).join("/"),
                  uriBaseId: "%SRCROOT%",
                },
                region: { startLine: line, startColumn: column },
              },
            },
          ],
        })),
      },
    ],
  };
}

/** What a rule checks and why, for `--explain`; undefined for an unknown id. */
export function explain(id: string): string | undefined {
  const rule = rules.find((candidate) => candidate.id === id);
  return rule && `${rule.id}: ${rule.summary}.\n\n${rule.explanation}\n`;
}

/** One line per rule. */
export function listRules(): string {
  const width = Math.max(...rules.map(({ id }) => id.length));
  return rules.map(({ id, summary }) => `${id.padEnd(width)}  ${summary}\n`).join("");
}
