/** Every piece of advice in the sources: what is printed behind `next:`, as it is written there. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAst } from "vitest/node";
import { checkout } from "../../lib/repository.ts";

/** One place that gives advice. */
export interface Advice {
  file: string;
  line: number;
  /** The expression, its white space made single. */
  text: string;
}

interface Syntax {
  type: string;
  start: number;
  end: number;
  [key: string]: unknown;
}

const isSyntax = (value: unknown): value is Syntax =>
  typeof value === "object" && value !== null && typeof (value as Syntax).type === "string";

/** The files that may give advice; those of tests do not. */
export function adviceFiles(): string[] {
  const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: checkout,
    encoding: "utf8",
  });
  const own =
    /^((deploy|tools\/installed)\.sh$|(lib|bootstrap|tools\/src|services\/[^/]+\/(src|cli))\/.*\.ts$)/;
  // A file that is being merged is listed once for each side.
  return [...new Set(listed.split("\0"))].filter(
    (file) => own.test(file) && !file.includes("/test/") && existsSync(join(checkout, file)),
  );
}

/** The advice in one file. */
export function adviceIn(file: string, text = readFileSync(join(checkout, file), "utf8")): Advice[] {
  const lineAt = (offset: number): number => text.slice(0, offset).split("\n").length;
  if (file.endsWith(".sh"))
    return [...text.matchAll(/next: (.+?)\)?" >&2/g)].map((found) => ({
      file,
      line: lineAt(found.index),
      text: found[1] ?? "",
    }));
  return expressions(parseAst(text, { lang: "ts" }) as unknown as Syntax, text).map(({ start, end }) => ({
    file,
    line: lineAt(start),
    text: text.slice(start, end).replace(/\s+/g, " "),
  }));
}

/** Where advice is handed over: to a failure, to a wait, as a property or a variable of that name, or printed. */
function expressions(program: Syntax, text: string): Syntax[] {
  const found = new Map<number, Syntax>();
  const add = (value: unknown): void => {
    for (const word of isSyntax(value) ? words(value) : []) found.set(word.start, word);
  };
  visit(program, (node) => {
    const name = (key: string): string => String((node[key] as { name?: string } | undefined)?.name ?? "");
    const given = (node.arguments ?? []) as Syntax[];
    if (node.type === "NewExpression" && /(Failure|Usage)$/.test(name("callee"))) add(given[1]);
    if (node.type === "CallExpression" && name("callee") === "until") add(given[3]);
    if (node.type === "Property" && /^(next|remedy)$/.test(name("key"))) add(node.value);
    if (node.type === "VariableDeclarator" && /^(next|remedy)$/.test(name("id"))) add(node.init);
    if (node.type === "AssignmentPattern" && /^(next|remedy)$/.test(name("left"))) add(node.right);
    if (/Literal$/.test(node.type) && /next: \S/.test(text.slice(node.start, node.end))) add(node);
  });
  return [...found.values()].sort((a, b) => a.start - b.start);
}

function visit(node: Syntax, look: (node: Syntax) => void): void {
  look(node);
  for (const value of Object.values(node))
    for (const child of Array.isArray(value) ? value : [value]) if (isSyntax(child)) visit(child, look);
}

// What is handed on by a name is found where it is written.
function words(node: Syntax): Syntax[] {
  const parts = (...keys: string[]): Syntax[] =>
    keys.flatMap((key) => (isSyntax(node[key]) ? words(node[key]) : []));
  switch (node.type) {
    case "Literal":
      return typeof node.value === "string" && node.value !== "" ? [node] : [];
    case "TemplateLiteral":
    case "CallExpression":
    case "BinaryExpression":
      return [node];
    case "ConditionalExpression":
      return parts("consequent", "alternate");
    case "LogicalExpression":
      return parts("left", "right");
    case "AwaitExpression":
      return parts("argument");
    case "ParenthesizedExpression":
      return parts("expression");
    case "ArrowFunctionExpression":
      return parts("body");
    default:
      return [];
  }
}

/** The tests of a file by title, with the source of each. */
export function testsIn(file: string): Map<string, string> {
  const text = readFileSync(join(checkout, file), "utf8");
  const tests = new Map<string, string>();
  visit(parseAst(text, { lang: "ts" }) as unknown as Syntax, (node) => {
    if (node.type !== "CallExpression") return;
    const source = text.slice(node.start, node.end);
    const [title] = (node.arguments ?? []) as Syntax[];
    // `test.each([…])("title", …)` and `sweep(…)("title", …)` too.
    if (!/^(test|it|sweep)\b/.test(source) || typeof title?.value !== "string") return;
    tests.set(title.value, source);
  });
  return tests;
}
