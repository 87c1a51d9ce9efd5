/** The templates of an ApplicationSet: Go's, which Helm renders, and the plain ones that replace `{{name}}`. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { load } from "js-yaml";
import { isMapping } from "../object.ts";
import { helmCommand } from "./chart.ts";

/** What a generator gives a template. For plain templates the values are texts, with names such as `path.basename`. */
export type Parameters = Record<string, unknown>;

/** A template that cannot be rendered here, because there is no Helm. */
export class NoHelm extends Error {}

/**
 * Renders every text in a value, once for each set of parameters.
 * @returns one copy of the value a set, in their order
 * @throws if a Go template is not valid, or uses something that its parameters lack; NoHelm if there is no Helm
 */
export async function renderTexts<T>(value: T, sets: Parameters[], isGo: boolean): Promise<T[]> {
  if (sets.length === 0) return [];
  if (!isGo) return sets.map((set) => mapTexts(value, (text) => replaced(text, set)) as T);
  const texts = new Set<string>();
  mapTexts(value, (text) => {
    if (text.includes("{{")) texts.add(text);
    return text;
  });
  if (texts.size === 0) return sets.map(() => structuredClone(value));
  const listed = [...texts];
  const rendered = await renderGo(listed, sets);
  return rendered.map((results) => {
    const byText = new Map(listed.map((text, index) => [text, results[index] ?? ""]));
    return mapTexts(value, (text) => byText.get(text) ?? text) as T;
  });
}

function mapTexts(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === "string") return change(value);
  if (Array.isArray(value)) return value.map((element) => mapTexts(element, change));
  if (!isMapping(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, content]) => [change(key), mapTexts(content, change)]),
  );
}

// A plain template's placeholder without a parameter stays as it is.
function replaced(text: string, set: Parameters): string {
  return text.replaceAll(/\{\{\s*([^{}]+?)\s*\}\}/g, (all, name: string) => {
    const value = set[name];
    return value === undefined || typeof value === "object" ? all : String(value);
  });
}

// Helm's template language is Go's with the functions that Argo CD has, and a few more. Each text is a template of its own,
// so that `$` and `.` are the parameters.
async function renderGo(texts: string[], sets: Parameters[]): Promise<string[][]> {
  const program = await helmCommand();
  if (program === undefined)
    throw new NoHelm("Go templates need helm, which is not installed, or Go to compile it");
  const chart = mkdtempSync(join(tmpdir(), "template-"));
  try {
    mkdirSync(join(chart, "templates"));
    writeFileSync(join(chart, "Chart.yaml"), "apiVersion: v2\nname: template\nversion: 1.0.0\n");
    writeFileSync(
      join(chart, "templates/_texts.tpl"),
      texts.map((text, index) => `{{ define "t${index}" }}${withOwnFunctions(text)}{{ end }}`).join("\n"),
    );
    const row = texts.map((_, index) => `{{ include "t${index}" . | toJson }}`).join(", ");
    writeFileSync(
      join(chart, "templates/rendered.yaml"),
      `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: rendered}\nrows:\n{{- range .Values.sets }}\n- [${row}]\n{{- end }}\n`,
    );
    const { stdout, stderr, exitCode } = await execa(
      program,
      ["template", "rendered", chart, "--values", "-"],
      {
        input: JSON.stringify({ sets }),
        reject: false,
        maxBuffer: 256 * 1024 * 1024,
      },
    );
    if (exitCode !== 0) throw new Error(reasonOf(stderr));
    return (load(stdout) as { rows: string[][] }).rows;
  } finally {
    rmSync(chart, { recursive: true, force: true });
  }
}

// `normalize` and `slugify` are Argo CD's own: a name that Kubernetes takes.
const asName = 'lower | replace "_" "-" | replace "/" "-" | replace " " "-" | trimAll "-."';

function withOwnFunctions(text: string): string {
  if (!/\b(normalize|slugify)\b/.test(text)) return text;
  return text.replaceAll(/\{\{[^}]*\}\}/g, (action) =>
    action
      .replaceAll(/\|\s*(?:normalize|slugify(?:\s+\d+(?:\s+(?:true|false))?)?)(?=[\s|)}])/g, `| ${asName}`)
      .replaceAll(
        /\b(?:normalize|slugify(?:\s+\d+(?:\s+(?:true|false))?)?)\s+(\$?\.[\w.]+|\([^()]*\))/g,
        `($1 | ${asName})`,
      ),
  );
}

function reasonOf(stderr: string): string {
  const line = stderr.trim().split("\n").filter(Boolean).pop() ?? "helm failed";
  return line.replace(/^.*?<(?:include )?.*?>: /, "").slice(0, 300);
}
