/** Evaluates the rules (Common Expression Language) in definitions of custom resources, as the API server does. */
import { Environment } from "@marcbachmann/cel-js";

export interface CelRule {
  rule: string;
  message?: string;
}

const environment = new Environment({ unlistedVariablesAreDyn: true });
type Program = (context: Record<string, unknown>) => unknown;
const programs = new Map<string, Program | undefined>();

/** The rules that a value violates. Rules about changes, and rules that the library cannot parse, are ignored. */
export function celFlaws(value: unknown, rules: CelRule[] = []): { message: string; rule: string }[] {
  if (!Array.isArray(rules)) return [];
  return rules.flatMap(({ rule, message }) => {
    if (typeof rule !== "string" || rule.includes("oldSelf")) return [];
    const program = programOf(rule);
    if (!program || holds(program, value, rule)) return [];
    return [{ message: message ?? "violates a rule of its definition", rule: rule.replace(/\s+/g, " ") }];
  });
}

function programOf(rule: string): Program | undefined {
  if (!programs.has(rule)) {
    try {
      programs.set(rule, environment.parse(rule) as unknown as Program);
    } catch {
      programs.set(rule, undefined);
    }
  }
  return programs.get(rule);
}

function holds(program: Program, value: unknown, rule: string): boolean {
  try {
    return program({ self: value }) !== false;
  } catch {
    // An invalid duration makes the evaluation fail, so such a rule is violated. Other failures are ignored.
    return !rule.includes("duration(self)");
  }
}
