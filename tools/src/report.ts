/** Writes findings in formats for people and for machines. */
import { called } from "../../lib/build.ts";
import type { Finding } from "./finding.ts";
import { presetOf, rules } from "./rules/index.ts";
import type { Validation } from "./validate.ts";

/** The formats that `--format` accepts. */
export const formats = ["people", "json", "sarif", "github"] as const;
export type Format = (typeof formats)[number];

/** Writes a validation in one of the formats, with a final newline. */
export function report(validation: Validation, format: Format): string {
  switch (format) {
    case "json":
      return `${JSON.stringify(validation, undefined, 2)}\n`;
    case "sarif":
      return `${JSON.stringify(sarif(validation), undefined, 2)}\n`;
    case "github":
      return validation.findings.map(annotation).join("");
    default:
      return people(validation);
  }
}

function people(validation: Validation): string {
  const { findings, clusters, overlays, applications, objects, skipped } = validation;
  const { unchecked = {}, external = [] } = validation;
  const lines = findings.map(
    ({ file, line, column, rule, message, fix }) =>
      `${file}:${line}:${column}: ${message} [${rule}]\n    fix: ${fix}\n`,
  );
  const unknown = Object.values(unchecked);
  const notes = notesOf(validation).map((text) => `${text}\n`);
  const scope = `${amount(objects, "object")} of ${amount(applications, "Application")} on ${named(clusters)}${
    overlays.length > 0 ? `, and in ${amount(overlays.length, "overlay")} that no cluster has` : ""
  }`;
  const left = [
    ...(skipped.length > 0 && validation.unchecked ? [`${skipped.length} not looked at`] : []),
    ...(external.length > 0 ? [`${external.length} in other repositories`] : []),
    ...(unknown.length > 0
      ? [
          `${amount(
            unknown.reduce((sum, count) => sum + count, 0),
            "object",
          )} without a schema`,
        ]
      : []),
  ].join(", ");
  const next = findings[0] ? `\nnext: ${called(`npm run validate -- --explain ${findings[0].rule}`)}` : "";
  return `${lines.join("")}${notes.join("")}${amount(findings.length, "finding")} in ${scope}${left && `; ${left}`}${next}\n`;
}

/** One line for each thing that was left out, and about which the verdict says nothing. */
function notesOf({ skipped, unchecked = {}, external = [], taken = [] }: Validation): string[] {
  const unknown = Object.entries(unchecked).sort(([a], [b]) => (a < b ? -1 : 1));
  return [
    ...skipped.map((text) => `not looked at: ${text}`),
    ...external.map((text) => `in another repository: ${text}`),
    ...unknown.map(([kind, count]) => `no schema available: ${kind}, ${amount(count, "object")}`),
    ...taken.map((url) => `taken for this repository: ${url}`),
  ];
}

const named = (clusters: string[]): string =>
  clusters.length > 6 ? amount(clusters.length, "cluster") : clusters.join(", ") || "no cluster";

const amount = (count: number, word: string): string => `${count} ${word}${count === 1 ? "" : "s"}`;

// https://docs.github.com/actions/reference/workflow-commands-for-github-actions
function annotation({ file, line, column, rule, message, fix }: Finding): string {
  const data = (text: string): string =>
    text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
  const property = (text: string): string => data(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
  const place = `file=${property(file)},line=${line},col=${column},title=${property(rule)}`;
  return `::error ${place}::${data(`${message}: ${fix}`)}\n`;
}

// https://docs.oasis-open.org/sarif/sarif/v2.1.0/
function sarif(validation: Validation): object {
  const { findings } = validation;
  const leftOut = notesOf(validation);
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
        invocations: [
          {
            executionSuccessful: true,
            toolExecutionNotifications: leftOut.map((text) => ({ level: "note", message: { text } })),
          },
        ],
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

/** Says what a rule checks and why, for `--explain`; undefined for an unknown id. */
export function explain(id: string): string | undefined {
  const rule = rules.find((candidate) => candidate.id === id);
  return rule && `${rule.id}: ${rule.summary}.\n\n${rule.explanation}\n\nPreset: ${presetOf(rule)}\n`;
}

/** One line for each rule, with its preset. */
export function listRules(): string {
  const width = Math.max(...rules.map(({ id }) => id.length));
  return rules
    .map((rule) => `${rule.id.padEnd(width)}  ${presetOf(rule).padEnd(8)}  ${rule.summary}\n`)
    .join("");
}
